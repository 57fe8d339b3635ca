//! Imports what nobody grants.

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn launch();
}

fn main() {
    unsafe { launch() };
}
