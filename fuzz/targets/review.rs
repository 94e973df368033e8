//! The API server's question about an object of ours.

use super::webhook;

pub fn run(data: &[u8]) {
    let Some((request, response)) = webhook::answered("/validate", data) else { return };
    if !request["object"].is_object() && request["operation"] != "DELETE" {
        assert_eq!(response["allowed"], false, "nothing is no object");
    }
}
