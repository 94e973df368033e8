//! How a client proves who it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::choice::choice;
use crate::duration::Duration;
use crate::schema::{
    self, AnnotationForm, DataKeyForm, HttpsUrlForm, Item, JwkTextForm, LabelValueForm, NameForm, SubjectForm, UriForm,
};

/// How a client proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.methods) || size(self.methods) < 2 || !self.methods.exists(m, m.type == 'None')")
    .message("None stands alone: remove it, or the other methods"))]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// The ways to prove it, at most one of each type; any one suffices, so that a client can move from one to another
    /// without a flag day. Default: one `ClientSecret`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<Method>")]
    pub methods: Vec<Method>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// One way to prove who the client is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.type == 'ClientSecret' || !has(self.secret)").message("secret belongs to type ClientSecret only"),
    validation = Rule::new("(self.type == 'ServiceAccount') == has(self.serviceAccounts)").message("type ServiceAccount needs serviceAccounts, and no other type may have them"),
    validation = Rule::new("(self.type == 'PrivateKeyJwt') == has(self.keys)").message("type PrivateKeyJwt needs keys, and no other type may have them"),
    validation = Rule::new("(self.type == 'MutualTls') == has(self.certificate)").message("type MutualTls needs certificate, and no other type may have it")
)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// `ClientSecret`: a secret in a Secret. `ServiceAccount`: the token of a `ServiceAccount` of this namespace.
    /// `PrivateKeyJwt`: a JWT signed with the client's key (RFC 7523). `MutualTls`: a client certificate (RFC 8705).
    /// `None`: a public client, which stands alone.
    #[serde(rename = "type")]
    pub kind: MethodType,
    /// For `ClientSecret`: which Secret, who writes it, and when the value changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ClientSecret>,
    /// For `ServiceAccount`: whose tokens are good; they are of this object's namespace. One to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::list::<ServiceAccount>")]
    pub service_accounts: Vec<ServiceAccount>,
    /// For `PrivateKeyJwt`: the client's public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ClientKeys>,
    /// For `MutualTls`: what the client's certificate must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Fields of a later version.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl Item for Method {
    const MAX: u32 = 5;
    const MIN: u32 = 1;
    const KEYS: &'static [&'static str] = &["type"];
}

/// The Secret that holds a client's credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// The Secret's name, in this object's namespace. Default `<metadata.name>-oauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub name: Option<String>,
    /// Who writes the Secret. `Create` (default): Countersign makes it and owns it. `Reference`: someone else writes the
    /// value; Countersign waits for it and never invents one. `Adopt`: Countersign takes an existing Secret over, leaves its
    /// other keys alone and keeps the old value good for `rotation.overlap` (24h when unset) beside the new one.
    /// `Reference` and `Adopt` need the annotation `countersign.dev/client: <name of this object>` on the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SecretMode>,
    /// Under which keys of the Secret each value lies, for applications that want other names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<SecretKeys>,
    /// Labels and annotations for the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<SecretTemplate>,
    /// When the value changes by itself. Absent: never; `countersign.dev/rotate-at` on this object still asks for a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<SecretRotation>,
    /// Values issued before this are refused at once, and so are the tokens they obtained: write the time of the leak here,
    /// in Git, where no restore can undo it. RFC 3339, at most an hour ahead. A new value is written right away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time_or_null")]
    pub reject_issued_before: Option<Timestamp>,
}

/// Under which keys of the Secret each value lies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeys {
    /// Key of the client identifier. Default `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub client_id: Option<String>,
    /// Key of the client secret. Default `client_secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub client_secret: Option<String>,
    /// Key of the issuer's URL. Default `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub issuer: Option<String>,
    /// Key of the token endpoint's URL. Default `token_endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub token_endpoint: Option<String>,
    /// Key of the URL of the issuer's public keys. Default `jwks_uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub jwks_uri: Option<String>,
    /// Key of the certificate authority to trust when calling the issuer, in PEM. Default `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<DataKeyForm>")]
    pub ca: Option<String>,
}

/// Labels and annotations for the Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Labels the Secret carries, such as `{team: web}`. Never `kubernetes.io/*`, `*.kubernetes.io/*` or `countersign.dev/*`. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::texts::<LabelValueForm, 16>")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('kubernetes.io/') && !k.contains('.kubernetes.io/') && !k.startsWith('countersign.dev/'))")
        .message("labels under kubernetes.io, *.kubernetes.io and countersign.dev are not yours to set: remove them"))]
    pub labels: BTreeMap<String, String>,
    /// Annotations the Secret carries. Never `kubernetes.io/*`, `*.kubernetes.io/*` or `countersign.dev/*`. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::texts::<AnnotationForm, 16>")]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('kubernetes.io/') && !k.contains('.kubernetes.io/') && !k.startsWith('countersign.dev/'))")
        .message("annotations under kubernetes.io, *.kubernetes.io and countersign.dev are not yours to set: remove them"))]
    pub annotations: BTreeMap<String, String>,
}

/// When a client secret changes by itself, and how long the value before it stays good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.period) || (has(self.overlap) ? duration(self.overlap) : duration('24h')) < duration(self.period)")
        .message("rotation.overlap (24h when unset) must be shorter than rotation.period"),
    validation = Rule::new("(has(self.maxOverlap) ? duration(self.maxOverlap) : duration('168h')) >= (has(self.overlap) ? duration(self.overlap) : duration('24h'))")
        .message("rotation.maxOverlap (168h when unset) must not be shorter than rotation.overlap (24h when unset)")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretRotation {
    /// How long after it was issued a value is replaced, such as `720h`. Absent: no periodic rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("rotation.period must be 1s or more"))]
    pub period: Option<Duration>,
    /// How long both values are good at least, such as `24h` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Duration>,
    /// When the older value ends. `WhenUnused` (default): once it was not used for an hour, after `overlap` at the earliest.
    /// `AfterOverlap`: after `overlap`, used or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retirement: Option<Retirement>,
    /// For `WhenUnused`: when `atDeadline` is applied to a value that is still used. Default `168h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_overlap: Option<Duration>,
    /// For `WhenUnused`: what happens after `maxOverlap`. `KeepAndWarn` (default) keeps the older value good and says who
    /// uses it; `Reject` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_deadline: Option<AtDeadline>,
}

/// A `ServiceAccount` of the object's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// Its name, such as `checkout`.
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub name: String,
}

impl Item for ServiceAccount {
    const MAX: u32 = 16;
    const MIN: u32 = 1;
    const KEYS: &'static [&'static str] = &["name"];
}

/// A client's public keys: written here, or fetched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.jwks) != has(self.jwksUri)").message("write either jwks or jwksUri"))]
#[serde(rename_all = "camelCase")]
pub struct ClientKeys {
    /// The keys themselves, as a JWK Set of public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
    /// Where the keys are fetched from: an https URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<HttpsUrlForm>")]
    pub jwks_uri: Option<String>,
}

/// A JWK Set (RFC 7517) of public keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct JwkSet {
    /// The keys. At most 16.
    #[serde(default)]
    #[schemars(!default, schema_with = "schema::list::<Jwk>")]
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 7517, RFC 7518).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Jwk {
    /// Key type: `EC`, `OKP` or `RSA`.
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub kty: String,
    /// Key identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<schema::TextForm>")]
    pub kid: Option<String>,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub purpose: Option<String>,
    /// The algorithm it is used with, such as `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub alg: Option<String>,
    /// The curve of an EC or OKP key, such as `P-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub crv: Option<String>,
    /// The x coordinate of an EC key, or an OKP key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub x: Option<String>,
    /// The y coordinate of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub y: Option<String>,
    /// The modulus of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub n: Option<String>,
    /// The exponent of an RSA key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<JwkTextForm>")]
    pub e: Option<String>,
}

impl Item for Jwk {
    const MAX: u32 = 16;
}

/// What a client's certificate must say (RFC 8705 section 2.1.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.sanUri), has(self.sanDns), has(self.subjectDn)].filter(x, x).size() == 1")
    .message("write exactly one of sanUri, sanDns and subjectDn"))]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The URI among its subject alternative names, such as `spiffe://cluster.local/ns/shop/sa/checkout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<UriForm>")]
    pub san_uri: Option<String>,
    /// The DNS name among its subject alternative names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<NameForm>")]
    pub san_dns: Option<String>,
    /// Its subject (RFC 4514), such as `CN=checkout,O=shop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text::<SubjectForm>")]
    pub subject_dn: Option<String>,
}

choice! {
    /// A way to prove who the client is.
    MethodType default ClientSecret {
        /// A client secret.
        ClientSecret = "ClientSecret",
        /// A `ServiceAccount`'s token.
        ServiceAccount = "ServiceAccount",
        /// A JWT signed with the client's key.
        PrivateKeyJwt = "PrivateKeyJwt",
        /// A client certificate.
        MutualTls = "MutualTls",
        /// Nothing: a public client.
        None = "None",
    }

    /// Who writes the Secret.
    SecretMode default Create {
        /// Countersign does.
        Create = "Create",
        /// Someone else does.
        Reference = "Reference",
        /// Someone else did, Countersign goes on.
        Adopt = "Adopt",
    }

    /// When an older value ends.
    Retirement default WhenUnused {
        /// Once nobody used it for an hour.
        WhenUnused = "WhenUnused",
        /// After the overlap.
        AfterOverlap = "AfterOverlap",
    }

    /// What happens to an older value that is still used at the deadline.
    AtDeadline default KeepAndWarn {
        /// It stays good.
        KeepAndWarn = "KeepAndWarn",
        /// It is refused.
        Reject = "Reject",
    }
}
