//! How many bytes a call moves between guest and host.

use crate::sandbox::host::bindings::wasi::clocks::wall_clock::Datetime;
use crate::sandbox::host::bindings::wasi::filesystem::types;
use crate::sandbox::host::bindings::wasi::io::streams::StreamError;
use wasmtime::component::Resource;

/// What an item of a list costs beside its own bytes, in bytes: it is lifted or lowered one by one.
const ITEM: u64 = 32;

/// What is moved with a call, in bytes. Numbers and handles are part of the call.
pub trait Moved {
    /// Bytes of this value that a call without any would not have.
    fn bytes(&self) -> u64 {
        0
    }

    /// The same for a whole list.
    fn list(items: &[Self]) -> u64
    where
        Self: Sized,
    {
        items.iter().map(|item| ITEM + item.bytes()).sum()
    }
}

macro_rules! nothing {
    ($($small:ty),* $(,)?) => { $(impl Moved for $small {})* };
}

nothing!(
    bool,
    u32,
    u64,
    f64,
    (),
    Datetime,
    StreamError,
    types::Advice,
    types::DescriptorFlags,
    types::DescriptorStat,
    types::DescriptorType,
    types::ErrorCode,
    types::MetadataHashValue,
    types::NewTimestamp,
    types::OpenFlags,
    types::PathFlags,
);

impl Moved for u8 {
    fn list(items: &[Self]) -> u64 {
        items.len() as u64
    }
}

impl<T> Moved for Resource<T> {}

impl Moved for String {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl Moved for types::DirectoryEntry {
    fn bytes(&self) -> u64 {
        self.name.bytes()
    }
}

impl<T: Moved> Moved for Vec<T> {
    fn bytes(&self) -> u64 {
        T::list(self)
    }
}

impl<T: Moved> Moved for Option<T> {
    fn bytes(&self) -> u64 {
        self.as_ref().map_or(0, Moved::bytes)
    }
}

impl<T: Moved, E: Moved> Moved for Result<T, E> {
    fn bytes(&self) -> u64 {
        match self {
            Ok(value) => value.bytes(),
            Err(error) => error.bytes(),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident),+))*) => {
        $(impl<$($name: Moved),+> Moved for ($($name,)+) {
            fn bytes(&self) -> u64 {
                #[expect(non_snake_case, reason = "the fields are named after their types")]
                let ($($name,)+) = self;
                0 $(+ $name.bytes())+
            }
        })*
    };
}

tuples!((A)(A, B)(A, B, C)(A, B, C, D)(A, B, C, D, E));
