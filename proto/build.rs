//! Compiles the `.proto` files with `protox`, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: &[&str] = &[
        "postern/v1/common.proto",
        "postern/v1/enrolment.proto",
        "postern/v1/connector.proto",
        "postern/v1/scan.proto",
        "postern/v1/tags.proto",
        "postern/v1/masks.proto",
        "postern/v1/review.proto",
        "postern/v1/gateway.proto",
        "postern/v1/session.proto",
        "postern/v1/audit.proto",
    ];
    println!("cargo:rerun-if-changed=postern");
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .bytes(".")
        // It holds passwords: src/lib.rs writes its Debug by hand.
        .skip_debug(["postern.v1.ConnectionSpec"])
        .compile_fds(descriptors)?;
    Ok(())
}
