//! The `attempt` and `inputs` interfaces of the `algorithm` world.

use super::Host;
use super::bindings::longboat::algorithm::{attempt, inputs};
use super::charge::ITEM;
use super::io::InputStream;
use crate::job::{Progress, is_unshowable};
use wasmtime::component::Resource;

/// How much of a guest's words about its progress is kept.
const MAX_MESSAGE: usize = 200;

/// An input, by its place in the order of names.
#[derive(Debug)]
pub struct InputHandle(usize);

impl Host {
    fn report(&mut self, fraction: f64, message: &str) {
        if let Some(progress) = &self.progress {
            let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
            let message = message.chars().filter(|c| !is_unshowable(*c)).take(MAX_MESSAGE).collect();
            progress.send_replace(Some(Progress { fraction, message }));
        }
    }
}

impl attempt::Host for Host {
    fn fuel_left(&mut self) -> wasmtime::Result<u64> {
        Ok(self.fuel.saturating_sub(self.burnt))
    }

    fn progress(&mut self, fraction: f64, message: String) -> wasmtime::Result<()> {
        self.moved(message.len());
        self.report(fraction, &message);
        Ok(())
    }
}

impl inputs::Host for Host {
    fn all(&mut self) -> wasmtime::Result<Vec<Resource<InputHandle>>> {
        self.moved(ITEM * self.inputs.len());
        (0..self.inputs.len()).map(|place| Ok(self.table.push(InputHandle(place))?)).collect()
    }
}

impl inputs::HostInput for Host {
    fn name(&mut self, input: Resource<InputHandle>) -> wasmtime::Result<String> {
        let place = self.table.get(&input)?.0;
        let name = self.inputs[place].0.clone();
        self.moved(name.len());
        Ok(name)
    }

    fn size(&mut self, input: Resource<InputHandle>) -> wasmtime::Result<u64> {
        let place = self.table.get(&input)?.0;
        Ok(self.inputs[place].1.size())
    }

    fn open(&mut self, input: Resource<InputHandle>) -> wasmtime::Result<Resource<InputStream>> {
        let place = self.table.get(&input)?.0;
        let stream = InputStream::body(self.inputs[place].1.clone());
        Ok(self.table.push(stream)?)
    }

    fn drop(&mut self, input: Resource<InputHandle>) -> wasmtime::Result<()> {
        self.table.delete(input)?;
        Ok(())
    }
}
