use utoipa::openapi::OpenApi;

use super::frame;

#[test]
fn the_frame_is_a_document() {
    let frame: OpenApi = frame();
    let text = serde_json::to_string(&frame).unwrap();
    assert!(text.contains("\"bearer\""), "{text}");
    assert!(text.contains("\"3.1.0\""), "{text}");
}
