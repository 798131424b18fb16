// Generates the client from the protocol. Needs protoc.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    tonic_build::configure()
        .build_server(false)
        .compile_protos(&["../../proto/jaxchat/v1/service.proto"], &["../../proto"])?;
    Ok(())
}
