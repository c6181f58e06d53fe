//! Lists, page by page: nothing that a cluster holds makes one answer take all memory.

use berth_engine::{
    contract::{Query, Reference, Selector},
    effect::{ClusterCause, ClusterFault},
};
use serde_json::Value;

use super::{
    fault::Refusal,
    kinds::Kind,
    misplaced,
    objects::{prune, with_kind},
    wire::{Call, METADATA_LIST, Wire, reference},
};
use crate::world::{FOUND_AT_MOST, FOUND_BYTES, Identity};

/// Objects per page of a list of what is ours. A page is held as it came, which takes twenty times what is kept of it.
const PAGE: usize = 100;
/// Objects per page of what adapters look up, whole and of any size.
const FOUND_PAGE: usize = 50;

/// Lists all objects that `selector` selects, pruned; and the version of the list.
pub(super) async fn list(
    wire: &Wire,
    kind: &Kind,
    namespace: Option<&str>,
    selector: &str,
    accept: Option<&'static str>,
) -> Result<(Vec<Value>, String), Refusal> {
    let mut items = Vec::new();
    let version = pages(wire, kind, namespace, selector, accept, |page| items.extend(page)).await?;
    Ok((items, version))
}

/// Lists all objects that `selector` selects, and hands each page of them on, pruned, before it asks for the next; answers
/// with the version of the list. Where objects are so large that a page of them is no answer to read, pages get smaller.
pub(super) async fn pages(
    wire: &Wire,
    kind: &Kind,
    namespace: Option<&str>,
    selector: &str,
    accept: Option<&'static str>,
    mut take: impl FnMut(&mut dyn Iterator<Item = Value>),
) -> Result<String, Refusal> {
    let mut size = PAGE;
    let mut next: Option<String> = None;
    loop {
        let mut call = Call::get(kind.collection(namespace)).query("limit", size.to_string());
        if !selector.is_empty() {
            call = call.query("labelSelector", selector);
        }
        if let Some(accept) = accept.or(kind.is_confidential().then_some(METADATA_LIST)) {
            call = call.accept(accept);
        }
        if let Some(next) = &next {
            call = call.query("continue", next);
        }
        let mut page = match wire.call(call).await {
            Err(Refusal::TooLarge(_)) if size > 1 => {
                size = (size / 4).max(1);
                continue;
            }
            page => page?,
        };
        take(&mut items_of(&mut page)?.map(|item| prune(kind, item)));
        next = more(&page);
        if next.is_none() {
            return Ok(resource_version(&page));
        }
    }
}

/// Looks objects up by name or labels, whole, as `identity`.
pub(super) async fn find(
    wire: &Wire,
    kind: &Kind,
    identity: &Identity,
    query: &Query,
) -> Result<Vec<Value>, ClusterFault> {
    let namespace = query.namespace.as_deref();
    match &query.selector {
        Selector::Name(name) => {
            let object = reference(&query.api_version, &query.kind, namespace, name);
            if kind.namespaced && namespace.is_none() {
                return Err(misplaced(&object, "is looked up by name and needs a namespace"));
            }
            let call = Call::get(kind.object(namespace, name)).at_most(FOUND_BYTES);
            match wire.call(call.by(identity)).await {
                Ok(document) => Ok(vec![with_kind(kind, document)]),
                Err(refusal) if refusal.code() == Some(404) => Ok(Vec::new()),
                Err(refusal) => Err(refused(refusal, &object)),
            }
        }
        Selector::Labels(labels) => {
            let selector: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let selector = selector.join(",");
            let mut found = Vec::new();
            let mut room = FOUND_BYTES;
            let mut next: Option<String> = None;
            while found.len() < FOUND_AT_MOST {
                let size = FOUND_PAGE.min(FOUND_AT_MOST - found.len());
                let mut call = Call::get(kind.collection(namespace))
                    .query("labelSelector", &selector)
                    .query("limit", size.to_string())
                    .at_most(room)
                    .by(identity);
                if let Some(next) = &next {
                    call = call.query("continue", next);
                }
                let about = |refusal: Refusal| match refusal {
                    Refusal::TooLarge(_) => too_much(&query.kind),
                    refusal => refusal.about_kind(&query.kind),
                };
                let (mut page, bytes) = wire.sized(call).await.map_err(about)?;
                room -= bytes;
                found.extend(items_of(&mut page).map_err(about)?.map(|item| with_kind(kind, item)));
                next = more(&page);
                if next.is_none() {
                    break;
                }
            }
            Ok(found)
        }
    }
}

fn refused(refusal: Refusal, object: &Reference) -> ClusterFault {
    match refusal {
        Refusal::TooLarge(_) => too_much(&object.to_string()),
        refusal => refusal.about(object),
    }
}

fn too_much(title: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::TooLarge,
        message: format!("{title}: what was looked up has more than {} MiB", FOUND_BYTES >> 20),
        retry_after: None,
    }
}

/// The items of a list.
///
/// # Errors
/// When one of them is no object.
pub(super) fn items_of(page: &mut Value) -> Result<impl Iterator<Item = Value> + use<>, Refusal> {
    let items = page.get_mut("items").and_then(Value::as_array_mut);
    let items = items.map(std::mem::take).unwrap_or_default();
    if items.iter().all(Value::is_object) {
        Ok(items.into_iter())
    } else {
        Err(Refusal::Lost("the answer is a list of what are no objects".to_owned()))
    }
}

/// What the next page is asked for with.
fn more(page: &Value) -> Option<String> {
    let token = page["metadata"]["continue"].as_str()?;
    (!token.is_empty()).then(|| token.to_owned())
}

/// The version of a document or of a list.
pub(super) fn resource_version(document: &Value) -> String {
    document["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::cluster::wire::lock;

    /// An API server with so many objects of so many bytes each. Notes the sizes of pages that it was asked for.
    struct Server {
        wire: Wire,
        pages: Arc<Mutex<Vec<usize>>>,
    }

    fn server(objects: usize, bytes: usize) -> Server {
        let pages = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&pages);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query: std::collections::HashMap<_, _> =
                url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                    .into_owned()
                    .collect();
            let size: usize = query["limit"].parse().unwrap();
            let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
            let to = objects.min(from + size);
            lock(&asked).push(size);
            let items: Vec<Value> = (from..to)
                .map(|number| json!({"metadata": {"name": format!("o-{number}")}, "data": "x".repeat(bytes)}))
                .collect();
            let token = if to < objects { to.to_string() } else { String::new() };
            let list = json!({"metadata": {"resourceVersion": "7", "continue": token}, "items": items});
            async move { Ok::<_, kube::Error>(Response::new(Body::from(list.to_string().into_bytes()))) }
        });
        Server {
            wire: Wire::new(kube::Client::new(service, "default")),
            pages,
        }
    }

    fn widgets() -> Kind {
        Kind {
            api_version: "example.com/v1".to_owned(),
            kind: "Widget".to_owned(),
            plural: "widgets".to_owned(),
            namespaced: true,
            has_status: true,
        }
    }

    async fn look_up(server: &Server) -> Result<Vec<Value>, ClusterFault> {
        let query = Query {
            name: "all".to_owned(),
            api_version: "example.com/v1".to_owned(),
            kind: "Widget".to_owned(),
            namespace: Some("work".to_owned()),
            selector: Selector::Labels(Vec::new()),
        };
        let identity = Identity {
            namespace: "work".to_owned(),
            service_account: "lz".to_owned(),
        };
        find(&server.wire, &widgets(), &identity, &query).await
    }

    #[tokio::test]
    async fn a_long_list_is_read_page_by_page() {
        let server = server(1_200, 10);
        let (items, version) = list(&server.wire, &widgets(), None, "", None).await.unwrap();
        assert_eq!((items.len(), version.as_str()), (1_200, "7"));
        assert_eq!(items[1_199]["metadata"]["name"], "o-1199");
        assert_eq!(*lock(&server.pages), [PAGE; 12]);
    }

    #[tokio::test]
    async fn a_list_of_large_objects_is_read_in_smaller_pages() {
        // 100 of them are 20 MB, 25 are 5 MB.
        let server = server(120, 200_000);
        let (items, _) = list(&server.wire, &widgets(), None, "", None).await.unwrap();
        let names: Vec<_> = items
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap())
            .collect();
        let expected: Vec<_> = (0..120).map(|number| format!("o-{number}")).collect();
        assert_eq!(names, expected);
        assert_eq!(*lock(&server.pages), [100, 25, 25, 25, 25, 25]);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_list_of_objects_is_none() {
        for answer in [r#""text""#, "[]", "7", r#"{"items": [{"metadata": {}}, "text"]}"#] {
            let service = tower::service_fn(move |_: Request<Body>| async move {
                Ok::<_, kube::Error>(Response::new(Body::from(answer.as_bytes().to_vec())))
            });
            let wire = Wire::new(kube::Client::new(service, "default"));
            let listed = list(&wire, &widgets(), None, "", None).await;
            assert!(matches!(listed, Err(Refusal::Lost(_))), "{answer}: {listed:?}");
        }
    }

    #[tokio::test]
    async fn no_more_objects_are_found_than_the_bound() {
        let server = server(1_000, 10);
        assert_eq!(look_up(&server).await.unwrap().len(), FOUND_AT_MOST);
        assert_eq!(*lock(&server.pages), [FOUND_PAGE; FOUND_AT_MOST / FOUND_PAGE]);
    }

    #[tokio::test]
    async fn what_is_found_has_a_budget_and_too_much_is_refused() {
        // Just below the budget, in two pages.
        assert_eq!(look_up(&server(80, 100_000)).await.unwrap().len(), 80);
        // Far above: no page beyond the budget is asked for.
        let server = server(400, 100_000);
        let fault = look_up(&server).await.unwrap_err();
        assert_eq!(fault.cause, ClusterCause::TooLarge);
        assert_eq!(fault.message, "Widget: what was looked up has more than 8 MiB");
        assert_eq!(lock(&server.pages).len(), 2);
    }
}
