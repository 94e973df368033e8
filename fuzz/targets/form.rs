//! Bodies of form requests, held against the reader browsers and most libraries agree on.

use std::collections::BTreeMap;

use countersign::http::form::{Form, decode};

const REPEATABLE: [&str; 2] = ["audience", "resource"];

pub fn run(data: &[u8]) {
    if let Ok(text) = decode(data) {
        assert!(!text.contains('\0'));
        let again: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        assert_eq!(decode(again.as_bytes()).as_deref(), Ok(&*text), "encoded and decoded");
    }
    let Ok(form) = Form::parse(data) else { return };
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(data) {
        others.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    assert!(others.len() <= 64);
    for (name, values) in &others {
        assert!(values.len() == 1 || REPEATABLE.contains(&&**name), "{name} counts once");
        let filled: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        assert_eq!(form.all(name).collect::<Vec<_>>(), filled, "{name} reads the same everywhere");
        assert_eq!(form.get(name), filled.first().copied());
    }
    let shown = format!("{form:?}");
    let names = others.keys().map(|name| format!("{name:?}").len() + 2).sum::<usize>();
    let repeated: usize =
        others.iter().map(|(name, values)| (values.len() - 1) * (format!("{name:?}").len() + 2)).sum();
    assert!(shown.len() <= names + repeated + 2, "values are not shown");
}
