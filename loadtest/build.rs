//! Compiles what the peers of the comparison speak, without any system tool.

use std::error::Error;

const PROTOS: &[&str] = &["etcd.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    for proto in PROTOS {
        let descriptors = protox::compile([proto], ["proto"])?;
        tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    }
    Ok(())
}
