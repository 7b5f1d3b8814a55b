//! The committed vectors of the canonical form.

#[test]
fn canonical_form_and_digests_stay_as_committed() {
    let mut checked = 0;
    for line in include_str!("vectors.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [input, canonical, sha256] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let value = base_json::parse_strict(input.as_bytes()).expect("vectors are JSON");
        assert_eq!(
            String::from_utf8(base_json::canonical(&value)).expect("UTF-8"),
            canonical
        );
        assert_eq!(
            base_json::Digest::of_value(&value).hex(),
            sha256.trim(),
            "digest of {canonical}"
        );
        checked += 1;
    }
    assert!(checked > 8);
}
