//! Making cases: the same ones for the same seed, on every machine.

use rand::{Rng, RngExt};
use rand_pcg::Pcg64Mcg;

/// Numbers at whose edges readers go wrong.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];
/// How often something is repeated at most, to make it deep or long.
const REPEATS: usize = 400;

/// Where cases come from.
#[derive(Debug)]
pub(crate) struct Cases {
    seed: u64,
    largest: usize,
    samples: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

impl Cases {
    pub(crate) fn new(seed: u64, largest: usize, samples: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        Self { seed, largest, samples, words }
    }

    /// One case: the first ones are the samples themselves.
    pub(crate) fn make(&self, number: u64) -> Vec<u8> {
        let sample = usize::try_from(number).ok().and_then(|number| self.samples.get(number));
        if let Some(sample) = sample {
            return sample.clone();
        }
        // Neighbouring seeds and numbers must not give neighbouring cases, so the two are spread over the whole state.
        let mut random = Pcg64Mcg::new(
            (u128::from(self.seed) << 64 | u128::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        );
        for _ in 0..4 {
            random.next_u64();
        }
        if self.samples.is_empty() || random.random_ratio(1, 10) {
            return self.noise(&mut random);
        }
        let mut bytes = self.sample(&mut random).to_vec();
        let changes = if random.random_bool(0.5) { 1 } else { random.random_range(1..12) };
        for _ in 0..changes {
            self.change(&mut bytes, &mut random);
        }
        bytes
    }

    fn sample(&self, random: &mut Pcg64Mcg) -> &[u8] {
        &self.samples[random.random_range(0..self.samples.len())]
    }

    fn noise(&self, random: &mut Pcg64Mcg) -> Vec<u8> {
        let length = random.random_range(0..=self.largest);
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        // Bytes of one kind get further in most readers than all 256 mixed.
        match random.random_range(0..3) {
            0 => bytes.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95),
            1 => bytes.iter_mut().for_each(|byte| *byte %= 16),
            _ => {}
        }
        bytes
    }

    fn word(&self, random: &mut Pcg64Mcg) -> Vec<u8> {
        if self.words.is_empty() || random.random_ratio(1, 4) {
            let edge = EDGES[random.random_range(0..EDGES.len())];
            return if random.random() { edge.to_string().into_bytes() } else { edge.to_le_bytes().to_vec() };
        }
        self.words[random.random_range(0..self.words.len())].as_bytes().to_vec()
    }

    fn change(&self, bytes: &mut Vec<u8>, random: &mut Pcg64Mcg) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 64));
        match random.random_range(0..9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.random();
                }
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, self.word(random))),
            5 => drop(bytes.splice(at..end, self.word(random))),
            6 => {
                let piece = bytes[at..end].repeat(random.random_range(0..4));
                drop(bytes.splice(at..at, piece));
            }
            7 => {
                let other = self.sample(random);
                let tail = other[random.random_range(0..=other.len())..].to_vec();
                bytes.truncate(at);
                bytes.extend(tail);
            }
            _ => {
                let word = self.word(random).repeat(random.random_range(1..REPEATS));
                drop(bytes.splice(at..at, word));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_cases_and_another_gives_others() {
        let cases = |seed| Cases::new(seed, 100, vec![b"{\"a\": 1}".to_vec()], &["["]);
        let make = |seed| (1..50).map(|number| cases(seed).make(number)).collect::<Vec<_>>();
        assert_eq!(make(1), make(1));
        assert!(make(1).iter().zip(make(2)).filter(|(one, two)| **one == *two).count() < 5);
        assert_eq!(cases(3).make(0), b"{\"a\": 1}");
    }
}
