//! Who may ask.
//!
//! Flows in: a request, the certificate its connection showed. Flows out: the request, or 403. The handshake has judged the
//! certificate already; a connection may outlive it, or the authority that vouched for it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::runtime::clock::Clock;
use crate::runtime::tls::{ClientCertificate, ClientJudge};

pub(super) async fn check(
    State((judge, clock)): State<(ClientJudge, Clock)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let shown = request.extensions().get::<ClientCertificate>();
    if shown.is_some_and(|shown| judge.takes(shown, clock.now())) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only who shows a certificate by an authority of --client-ca is answered\n").into_response()
}
