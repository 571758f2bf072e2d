//! Answers other than success, and who gets to see the token.

use deberta::hub::{self, HubError, HubOptions, Token};

use crate::server::{Fault, Model};
use crate::{NAME, World, tiny};

const SECRET: &str = "hf_verysecret";

/// What a message says, after a look for what it must not say.
#[track_caller]
fn message(error: &HubError) -> String {
    let said = format!("{error} {error:?}");
    assert!(
        !said.contains(SECRET) && !said.contains("topsecret"),
        "{said}"
    );
    error.to_string()
}

fn with_token(world: &World) -> HubOptions {
    HubOptions {
        token: Token::new(SECRET),
        ..world.options.clone()
    }
}

#[test]
fn the_token_goes_to_the_endpoint_only() {
    let world = World::new(tiny());
    hub::resolve(NAME, &with_token(&world), &mut ()).unwrap();
    let seen = world.server.seen();
    assert!(seen.iter().any(|it| it.at_cdn));
    for request in seen {
        let expected = (!request.at_cdn).then(|| format!("Bearer {SECRET}"));
        assert_eq!(request.authorization, expected, "{}", request.target);
    }
    let world = World::new(tiny());
    world.resolve().unwrap();
    assert!(
        world
            .server
            .seen()
            .iter()
            .all(|it| it.authorization.is_none())
    );
}

#[test]
fn a_renamed_model_is_followed_and_the_token_stays_on_its_host() {
    let world = World::new(tiny());
    world.server.publish("someone/renamed", tiny());
    let new = "/api/models/someone/renamed/revision/main?blobs=true";
    let elsewhere = world.server.url.replace("127.0.0.1", "localhost");
    for (host, keeps_token) in [("", true), (elsewhere.as_str(), false)] {
        let location = format!("Location: {host}{new}").leak();
        world.server.fail("list", Fault::Refuse(307, location));
        hub::resolve(NAME, &with_token(&world), &mut ()).unwrap();
        let seen = world.server.seen();
        let asked = seen.iter().find(|it| it.target == new).unwrap();
        assert_eq!(asked.authorization.is_some(), keeps_token, "{host}");
    }
}

#[test]
fn a_model_that_is_not_there_is_named_with_what_may_help() {
    let world = World::new(tiny());
    let find = |options| hub::resolve("someone/else", options, &mut ()).unwrap_err();
    let error = find(&world.options);
    assert!(matches!(&error, HubError::ModelNotFound { model, .. } if model == "someone/else"));
    assert!(message(&error).contains("set HF_TOKEN"), "{error}");
    let error = find(&with_token(&world));
    assert!(
        message(&error).contains("was sent and does not open it"),
        "{error}"
    );
}

#[test]
fn refusals_of_the_list_are_told_apart() {
    let world = World::new(tiny());
    let refused = |status, header| {
        world.server.fail("list", Fault::Refuse(status, header));
        hub::resolve(NAME, &with_token(&world), &mut ()).unwrap_err()
    };
    let error = refused(404, "X-Error-Code: RevisionNotFound");
    assert!(
        matches!(error, HubError::RevisionNotFound { .. }),
        "{error}"
    );
    assert!(message(&error).contains("no revision `main`"), "{error}");
    // The Hub hides private models this way.
    let error = refused(401, "X-Error-Code: RepoNotFound");
    assert!(matches!(error, HubError::ModelNotFound { .. }), "{error}");
    let error = refused(404, "");
    assert!(matches!(error, HubError::ModelNotFound { .. }), "{error}");
    for (status, header) in [(401, ""), (403, ""), (403, "X-Error-Code: GatedRepo")] {
        let error = refused(status, header);
        assert!(
            matches!(error, HubError::Denied { status: it, .. } if it == status),
            "{error}"
        );
        assert!(message(&error).contains("accept its terms"), "{error}");
    }
    let error = refused(418, "X-Error-Message: a teapot");
    assert!(
        message(&error).ends_with("answered with status 418: a teapot"),
        "{error}"
    );
    let error = refused(500, "");
    assert!(
        matches!(error, HubError::Http { status: 500, .. }),
        "nothing in the cache: {error}"
    );
}

#[test]
fn refusals_of_a_file_are_told_apart() {
    let world = World::new(tiny());
    let refused = |status| {
        world
            .server
            .fail("model.safetensors", Fault::Refuse(status, "X-Some: thing"));
        world.resolve().unwrap_err()
    };
    let error = refused(403);
    assert!(
        matches!(error, HubError::Denied { status: 403, .. }),
        "{}",
        message(&error)
    );
    let error = refused(404);
    assert!(
        matches!(error, HubError::Http { status: 404, .. }),
        "{}",
        message(&error)
    );
    // May pass, so that what came so far is kept.
    let error = refused(503);
    assert!(
        matches!(error, HubError::Interrupted { received: 0, .. }),
        "{}",
        message(&error)
    );
    world.resolve().unwrap();
}

#[test]
fn a_model_that_is_no_checkpoint_is_refused_with_what_it_has() {
    let world = World::new(Model::new().small("README.md", "text"));
    let error = world.resolve().unwrap_err().to_string();
    assert!(
        error.ends_with("has no configuration (config.json); it has: README.md"),
        "{error}"
    );
    let world = World::new(
        Model::new()
            .small("config.json", "{}")
            .large("tf_model.h5", ""),
    );
    let error = world.resolve().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has no weights that can be read"),
        "{error}"
    );
}

#[test]
fn a_list_that_is_none_is_an_error() {
    for (list, problem) in [
        ("<html>", "expected value"),
        (
            r#"{"sha": "../../x", "siblings": []}"#,
            "`../../x` is no commit",
        ),
        (r#"{"siblings": []}"#, "missing field `sha`"),
    ] {
        let world = World::new(tiny());
        world.server.fail("list", Fault::Send(list.into()));
        let error = world.resolve().unwrap_err();
        assert!(matches!(error, HubError::Malformed { .. }), "{error}");
        assert!(message(&error).contains(problem), "{error}");
    }
}
