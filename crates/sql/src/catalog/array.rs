//! PostgreSQL's text form of arrays.

/// The items of a one-dimensional array; NULL items are left out. `None` where the text is no such array.
pub(super) fn items(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let mut item = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        let mut closed = !quoted;
        while let Some(c) = chars.next_if(|&c| quoted || c != ',') {
            match c {
                '\\' => item.push(chars.next()?),
                '"' => {
                    closed = true;
                    break;
                }
                c => item.push(c),
            }
        }
        if !closed {
            return None;
        }
        if quoted || item != "NULL" {
            items.push(item);
        }
        if chars.peek().is_some() {
            chars.next_if_eq(&',')?;
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn arrays_are_read() {
        assert_eq!(items("{}"), Some(vec![]));
        assert_eq!(items("{a,NULL,\"b,\\\"c\\\\\",\"\"}"), Some(vec!["a".into(), "b,\"c\\".into(), String::new()]));
        assert_eq!(items("{\"a}"), None);
        assert_eq!(items("a"), None);
    }
}
