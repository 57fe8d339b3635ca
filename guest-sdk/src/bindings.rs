//! What `wit-bindgen` makes of the `algorithm` world.

wit_bindgen::generate!({
    path: "../wit",
    world: "algorithm",
    pub_export_macro: true,
    default_bindings_module: "longboat_sdk::bindings",
    generate_all,
});
