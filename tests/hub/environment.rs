//! Settings by the environment, through a function in place of it.

use std::fs;

use deberta::hub::{HubOptions, Parts, Token};

fn options(variables: &[(&str, &str)]) -> HubOptions {
    let find = |name: &str| variables.iter().find(|(it, _)| *it == name);
    HubOptions::from_lookup(|name| find(name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn the_environment_is_read_as_python_does() {
    let cache = |variables: &[(&str, &str)]| {
        options(variables)
            .cache_dir
            .map(|it| it.display().to_string())
    };
    let home = ("HOME", "/h");
    assert_eq!(cache(&[]), None);
    assert_eq!(cache(&[home]).unwrap(), "/h/.cache/huggingface/hub");
    assert_eq!(
        cache(&[home, ("XDG_CACHE_HOME", "/x")]).unwrap(),
        "/x/huggingface/hub"
    );
    assert_eq!(
        cache(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/f")]).unwrap(),
        "/h/f/hub"
    );
    assert_eq!(
        cache(&[home, ("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]).unwrap(),
        "/c"
    );
    assert_eq!(
        cache(&[home, ("HUGGINGFACE_HUB_CACHE", "/c")]).unwrap(),
        "/c"
    );

    assert_eq!(options(&[]).endpoint, "https://huggingface.co");
    assert_eq!(options(&[("HF_ENDPOINT", "http://m")]).endpoint, "http://m");
    assert_eq!(options(&[]).parts, Parts::All);
    for (variables, offline) in [
        (&[][..], false),
        (&[("HF_HUB_OFFLINE", "1")], true),
        (&[("HF_HUB_OFFLINE", "true")], true),
        (&[("TRANSFORMERS_OFFLINE", "YES")], true),
        (
            &[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")],
            false,
        ),
        (&[("HF_HUB_OFFLINE", "")], false),
    ] {
        assert_eq!(options(variables).offline, offline, "{variables:?}");
    }
}

#[test]
fn the_token_comes_from_the_environment_or_its_file_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), "hf_file\n").unwrap();
    let hf_home = ("HF_HOME", dir.path().to_str().unwrap());
    let token = |variables: &[(&str, &str)]| options(variables).token;
    let of = |token: &str| Token::new(token);
    assert_eq!(token(&[hf_home]), of("hf_file"));
    assert_eq!(token(&[hf_home, ("HF_TOKEN", "hf_env\n")]), of("hf_env"));
    assert_eq!(
        token(&[hf_home, ("HUGGING_FACE_HUB_TOKEN", "hf_old")]),
        of("hf_old")
    );
    assert_eq!(
        token(&[hf_home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]),
        None
    );
    assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere"), hf_home]), None);
    assert_eq!(of("two words"), None);
    let shown = format!("{:?}", options(&[("HF_TOKEN", "hf_env")]));
    assert!(!shown.contains("hf_env"), "{shown}");
}
