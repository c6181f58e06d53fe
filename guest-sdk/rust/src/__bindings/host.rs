//! The imports.

use super::wit;
use crate::{
    __bindings::convert::{pairs, reference_out},
    Json, Reference,
    cluster::{self, Search},
    fleet::{self, Lookup},
    http::{self, Request, Response},
    log::Level,
};

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    wit::log::emit(level, message);
}

pub(crate) fn fleet_get(path: &str) -> Result<Json, fleet::Error> {
    wit::fleet::get(path).map(Json::from_text).map_err(fleet_error)
}

pub(crate) fn fleet_query(lookup: &Lookup) -> Result<Json, fleet::Error> {
    wit::fleet::query(&wit::fleet::Lookup {
        method: lookup.method.clone(),
        path: lookup.path.clone(),
        headers: pairs(lookup.headers.iter().cloned()),
        body: lookup.body.as_ref().map(|body| body.text().to_owned()),
    })
    .map(Json::from_text)
    .map_err(fleet_error)
}

pub(crate) fn cluster_get(target: &Reference) -> Result<Json, cluster::Error> {
    wit::cluster::get(&reference_out(target.clone()))
        .map(Json::from_text)
        .map_err(cluster_error)
}

pub(crate) fn cluster_find(search: &Search) -> Result<Vec<Json>, cluster::Error> {
    wit::cluster::find(&wit::cluster::Search {
        api_version: search.api_version.clone(),
        kind: search.kind.clone(),
        namespace: search.namespace.clone(),
        labels: pairs(search.labels.clone()),
    })
    .map(|hits| hits.into_iter().map(Json::from_text).collect())
    .map_err(cluster_error)
}

pub(crate) fn http_send(request: &Request) -> Result<Response, http::Error> {
    wit::http::send(&wit::http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: pairs(request.headers.iter().cloned()),
        body: request.body.clone(),
        timeout_ms: request.timeout_ms,
    })
    .map(|response| Response {
        status: response.status,
        headers: response
            .headers
            .into_iter()
            .map(|pair| (pair.name, pair.value))
            .collect(),
        body: response.body,
    })
    .map_err(|error| match error {
        wit::http::Error::Denied(grant) => http::Error::Denied(grant),
        wit::http::Error::Unavailable(why) => http::Error::Unavailable(why),
        wit::http::Error::TooLarge => http::Error::TooLarge,
    })
}

fn fleet_error(error: wit::fleet::Error) -> fleet::Error {
    match error {
        wit::fleet::Error::Denied(grant) => fleet::Error::Denied(grant),
        wit::fleet::Error::NotFound(body) => fleet::Error::NotFound(Json::from_text(body)),
        wit::fleet::Error::Unavailable(why) => fleet::Error::Unavailable(why),
        wit::fleet::Error::Rejected(rejection) => fleet::Error::Rejected {
            status: rejection.status,
            body: Json::from_text(rejection.body),
        },
    }
}

fn cluster_error(error: wit::cluster::Error) -> cluster::Error {
    match error {
        wit::cluster::Error::Denied(grant) => cluster::Error::Denied(grant),
        wit::cluster::Error::NotFound => cluster::Error::NotFound,
        wit::cluster::Error::Unavailable(why) => cluster::Error::Unavailable(why),
        wit::cluster::Error::Rejected(why) => cluster::Error::Rejected(why),
    }
}
