//! Replies that are less than the service has sent, but not so that the SDK would notice.

use std::error::Error;

use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Refuses replies that are cut off or empty.
///
/// The SDK reads XML for as far as it goes: a listing that is cut off passes for a shorter one, or for none
/// at all. And it takes an empty body for `{}`, which is an empty list. Both would be taken for facts.
/// Every call that we make has a reply with something in it.
#[derive(Clone, Copy, Debug)]
pub struct WholeReplies;

impl Intercept for WholeReplies {
    fn name(&self) -> &'static str {
        "WholeReplies"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let reply = context.response();
        let body = reply.body().bytes().unwrap_or_default().trim_ascii();
        // An error without a body is for `errors` to name.
        if body.is_empty() && reply.status().is_success() {
            return Err("the reply is empty".into());
        }
        if body.starts_with(b"<") && !std::str::from_utf8(body).is_ok_and(is_closed) {
            return Err("the reply is cut off".into());
        }
        Ok(())
    }
}

/// Whether an XML document ends with its root element.
fn is_closed(document: &str) -> bool {
    let root = match document.strip_prefix("<?") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, root)| root.trim_start()),
        None => document,
    };
    let name = root
        .strip_prefix('<')
        .and_then(|root| root.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next());
    let (Some(name), Some(inside)) = (name, root.strip_suffix('>')) else { return false };
    let has_end_tag = inside.trim_end().strip_suffix(name).is_some_and(|rest| rest.ends_with("</"));
    let is_one_tag = inside.ends_with('/') && !inside.contains('>');
    !name.is_empty() && (has_end_tag || is_one_tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_whole_when_its_root_is_closed() {
        for whole in [
            "<a/>",
            "<a></a>",
            "<a x=\"1\"/>",
            "<a\n  xmlns=\"u\"><b>1</b></a>",
            "<?xml version=\"1.0\"?>\n<a><a>1</a></a >",
            "<html>busy</html>",
        ] {
            assert!(is_closed(whole), "{whole}");
        }
        let document = "<?xml version=\"1.0\"?>\n<a x=\"1\"><b>1</b><c/><d>é</d></a>";
        assert!(is_closed(document));
        for (cut, _) in document.char_indices() {
            let (part, _) = document.split_at(cut);
            assert!(!is_closed(part), "{part}");
        }
        for odd in ["<", "<>", "</>", "<?", "<!DOCTYPE html><p>", "<a></b>", "<ab></b>"] {
            assert!(!is_closed(odd), "{odd}");
        }
    }
}
