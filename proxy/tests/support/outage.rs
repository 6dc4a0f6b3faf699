//! What goes on while the API server is away, and for how long.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, StatusCode};
use kite_gateway::{
    BoxError,
    pipeline::{
        Gateway,
        authenticate::{AuthenticateError, Authenticator, BearerToken, Caller},
        authorize::{Access, AuthorizeError, Authorizer},
    },
    recent::{Lifetimes, RecentDecisions, RecentIdentities},
};
use tokio::time::timeout;

use super::{
    LIMIT, SHORT, Scene,
    gateway::{Jane, Swapped, Whole, request},
    slug,
};

/// The API server, which knows jane, and can be away.
#[derive(Clone, Default)]
struct Api(Arc<AtomicBool>);

impl Api {
    fn leave(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn come_back(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn reach(&self) -> Result<Jane, Arc<dyn Error + Send + Sync>> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Arc::from(BoxError::from("the API server is away")));
        }
        Ok(Jane)
    }
}

impl Authenticator for Api {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        self.reach().map_err(AuthenticateError)?.authenticate(token).await
    }
}

impl Authorizer for Api {
    async fn allows(&self, caller: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        self.reach().map_err(AuthorizeError)?.allows(caller, access).await
    }
}

type Remembering = Gateway<RecentIdentities<Api>, RecentDecisions<Api>, Swapped>;

/// The scene's gateway, which asks `api` about each request, and goes on with former answers for `outage`.
fn remembering(scene: &Scene, api: &Api, outage: Duration) -> Remembering {
    let lifetimes = Lifetimes {
        yes: Duration::ZERO,
        no: Duration::ZERO,
        outage,
    };
    let like = &scene.gateway;
    Gateway {
        authenticator: RecentIdentities::new(api.clone(), lifetimes, Arc::default()).unwrap(),
        authorizer: RecentDecisions::new(api.clone(), lifetimes, Arc::default()),
        directory: scene.directory.clone(),
        entrance: Arc::clone(&like.entrance),
        upstream: Arc::clone(&like.upstream),
        upstreams: Arc::clone(&like.upstreams),
        body_timeout: like.body_timeout,
        home_cluster: like.home_cluster.clone(),
        ending: Arc::clone(&like.ending),
        recorder: Arc::clone(&like.recorder),
        base: like.base.clone(),
    }
}

/// What the plugin answers to whoever sends `token`, or the gateway in its place.
async fn ask(gateway: &Remembering, method: Method, token: &str) -> Whole {
    let mut request = request(method, "rogue/seen", "");
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    Whole::of(gateway.answer(request).await).await.unwrap()
}

#[tokio::test]
async fn while_the_api_server_is_away_those_who_were_decided_about_go_on_and_nobody_else() {
    let (scene, api) = (Scene::new().await, Api::default());
    let gateway = remembering(&scene, &api, Duration::from_mins(1));
    assert_eq!(ask(&gateway, Method::GET, "jane").await.status, StatusCode::OK);
    api.leave();
    let others = [
        // Nobody knows whose token it is.
        ("s3cret", Method::GET, "authentication-unavailable"),
        // Nobody has asked before whether jane may do this.
        ("jane", Method::POST, "authorization-unavailable"),
    ];
    for (token, method, problem) in &others {
        let answer = ask(&gateway, method.clone(), token).await;
        assert_eq!((answer.status.as_u16(), slug(&answer).as_str()), (503, *problem));
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(ask(&gateway, Method::GET, "jane").await.status, StatusCode::OK);
    }
    assert_eq!(
        scene.rogue.begun.load(Ordering::SeqCst),
        3,
        "of the others the plugin hears nothing"
    );
    api.come_back();
    for (token, method, _) in others {
        assert_eq!(ask(&gateway, method, token).await.status, StatusCode::OK, "{token}");
    }
}

#[tokio::test]
async fn while_the_api_server_is_away_a_decision_holds_for_its_time_and_no_longer() {
    let (scene, api) = (Scene::new().await, Api::default());
    let gateways = [SHORT, Duration::from_mins(1)].map(|outage| remembering(&scene, &api, outage));
    for gateway in &gateways {
        assert_eq!(ask(gateway, Method::GET, "jane").await.status, StatusCode::OK);
    }
    api.leave();
    let [brief, patient] = gateways;
    let over = async {
        while ask(&brief, Method::GET, "jane").await.status == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, over).await.expect("the decision ends");
    let answer = ask(&brief, Method::GET, "jane").await;
    assert_eq!(
        (answer.status.as_u16(), slug(&answer).as_str()),
        (503, "authentication-unavailable")
    );
    assert_eq!(ask(&patient, Method::GET, "jane").await.status, StatusCode::OK);
}
