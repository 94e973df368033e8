//! Specs a person may write, and specs that cannot be meant with what the API server says to them.

pub const ACCEPTED: &[(&str, &str)] = &[
    ("OAuthClient", "{}"),
    (
        "OAuthClient",
        "{displayName: Checkout, state: Suspended, tokensNotBefore: '2026-11-22T04:00:00Z', deletionPolicy: Retain}",
    ),
    ("OAuthClient", "{access: [{audience: 'https://orders.shop.svc', scopes: ['orders:read', 'orders:write']}]}"),
    (
        "OAuthClient",
        "{access: [{audience: 'https://a.b', scopes: [r]}, {audience: 'urn:c', scopes: [r]}], defaultAudience: 'urn:c'}",
    ),
    (
        "OAuthClient",
        "{grantTypes: [AuthorizationCode, RefreshToken], redirectUris: ['https://a.example/cb', 'http://127.0.0.1:8400/cb', 'com.example.app:/cb']}",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {name: a, mode: Adopt, keys: {ca: ca.crt}, template: {labels: {team: web}, annotations: {example.com/x: z}}, rotation: {period: 720h, overlap: 24h, retirement: WhenUnused, maxOverlap: 168h, atDeadline: KeepAndWarn}, rejectIssuedBefore: null}}]}}",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {rotation: {period: 5s, overlap: 2s}}}]}}",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret}, {type: ServiceAccount, serviceAccounts: [{name: checkout}]}, {type: PrivateKeyJwt, keys: {jwks: {keys: []}}}, {type: MutualTls, certificate: {sanUri: 'spiffe://a/b'}}]}}",
    ),
    (
        "OAuthClient",
        "{grantTypes: [AuthorizationCode], redirectUris: ['https://a.example/cb'], authentication: {methods: [{type: None}]}}",
    ),
    (
        "OAuthClient",
        "{tokens: {accessTokenLifetime: 15m, format: Opaque, signingKey: other, claims: {tier: gold, deep: {a: [1, true, null]}}}}",
    ),
    ("ScopePolicy", "{audience: 'https://orders.shop.svc'}"),
    (
        "ScopePolicy",
        "{audience: 'https://orders.shop.svc', targetRefs: [{group: '', kind: Service, name: orders}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: orders}], routes: [{hosts: [api.example.com, '*.orders.example.com', 'api.example.com:8443'], pathPrefix: /orders}], mode: Shadow, scopes: [{name: 'orders:read', description: Read orders}], grants: [{scopes: ['orders:read'], to: [{namespaces: Same}, {namespaceSelector: {matchLabels: {team: web}, matchExpressions: [{key: env, operator: In, values: [prod]}]}}, {client: web.frontend}]}], resourceServers: [shop.orders], unmatched: Authenticated, corsPreflight: Allow, tokenSources: [Header]}",
    ),
    (
        "ScopePolicy",
        "{audience: 'urn:x', rules: [{name: one, matches: [{methods: [GET, HEAD], path: {type: Template, value: '/orders/{id}'}}, {path: {type: Prefix, value: /}}], protection: Scoped, allow: [{scopes: [r], when: 'path.id == token.sub'}, {scopes: [a]}], mode: Shadow}, {name: two, matches: [{path: {type: Exact, value: '/a%20b/'}}], protection: Public}]}",
    ),
    (
        "NamespaceAllowance",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}, hosts: [api.example.com/orders, '*.orders.example.com'], audiences: ['https://api.example.com/orders'], redirectHosts: [shop.example.com], clientIds: [9f2b], grantTypes: [AuthorizationCode, RefreshToken], maxAccessTokenLifetime: 1h}",
    ),
    ("NamespaceAllowance", "{namespaceSelector: {}}"),
    ("SigningKey", "{}"),
    (
        "SigningKey",
        "{algorithm: EdDSA, source: {type: Generated}, rotation: {period: 720h, prePublish: 1h}, revokedKeyIds: [NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs]}",
    ),
];

/// What the API server says where the schema alone refuses; `countersign_api::violations` must see the same.
pub const SCHEMA_PHRASES: &[&str] = &[
    "should match",
    "should have at least 1 items",
    "field not declared in schema",
    "duplicate entries for key",
    "supported values",
];

pub const REFUSED: &[(&str, &str, &str)] = &[
    ("OAuthClient", "{clientId: 'a:b'}", "should match"),
    ("OAuthClient", "{displayName: \"Check\\r\\nout\"}", "should match"),
    ("OAuthClient", "{state: Paused}", "supported values: \"Active\", \"Suspended\""),
    ("OAuthClient", "{stat: Active}", "field not declared in schema"),
    ("OAuthClient", "{access: [{audience: 'https://a.b', scopes: []}]}", "should have at least 1 items"),
    ("OAuthClient", "{access: [{audience: orders, scopes: [r]}]}", "should match"),
    ("OAuthClient", "{access: [{audience: 'https://a.b#c', scopes: [r]}]}", "should match"),
    ("OAuthClient", "{access: [{audience: 'https://a.b', scopes: ['a b']}]}", "should match"),
    (
        "OAuthClient",
        "{access: [{audience: 'https://a.b', scopes: [r]}, {audience: 'https://c.d', scopes: [r]}]}",
        "write defaultAudience",
    ),
    (
        "OAuthClient",
        "{access: [{audience: 'https://a.b', scopes: [r]}], defaultAudience: 'https://c.d'}",
        "must be the audience of an entry of access",
    ),
    ("OAuthClient", "{defaultAudience: 'https://c.d'}", "must be the audience of an entry of access"),
    ("OAuthClient", "{grantTypes: [AuthorizationCode]}", "need redirectUris"),
    ("OAuthClient", "{grantTypes: [ClientCredentials, RefreshToken]}", "RefreshToken needs a grant"),
    ("OAuthClient", "{grantTypes: []}", "should have at least 1 items"),
    ("OAuthClient", "{redirectUris: ['http://shop.example.com/cb']}", "should match"),
    ("OAuthClient", "{redirectUris: ['javascript:alert(1)']}", "should match"),
    ("OAuthClient", "{redirectUris: ['https://*.example.com/cb']}", "should match"),
    ("OAuthClient", "{redirectUris: ['https://a.example/cb#x']}", "should match"),
    ("OAuthClient", "{authentication: {methods: [{type: None}]}}", "cannot use ClientCredentials"),
    ("OAuthClient", "{authentication: {methods: [{type: None}, {type: ClientSecret}]}}", "None stands alone"),
    ("OAuthClient", "{authentication: {methods: [{type: ServiceAccount}]}}", "needs serviceAccounts"),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ServiceAccount, serviceAccounts: [{name: a}], secret: {name: b}}]}}",
        "secret belongs to type ClientSecret only",
    ),
    ("OAuthClient", "{authentication: {methods: [{type: PrivateKeyJwt}]}}", "needs keys"),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: PrivateKeyJwt, keys: {jwks: {keys: []}, jwksUri: 'https://a.b/k'}}]}}",
        "either jwks or jwksUri",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: PrivateKeyJwt, keys: {jwks: {keys: [{kty: EC, d: secret}]}}}]}}",
        "field not declared in schema",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: MutualTls, certificate: {sanDns: a, subjectDn: CN=a}}]}}",
        "exactly one of sanUri",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {rotation: {period: 12h}}}]}}",
        "must be shorter than rotation.period",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {rotation: {overlap: 200h}}}]}}",
        "rotation.maxOverlap",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {rotation: {period: 30d}}}]}}",
        "should match",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {rejectIssuedBefore: yesterday}}]}}",
        "rejectIssuedBefore",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {template: {labels: {app.kubernetes.io/name: a}}}}]}}",
        "not yours to set",
    ),
    (
        "OAuthClient",
        "{authentication: {methods: [{type: ClientSecret, secret: {template: {annotations: {countersign.dev/owner: a}}}}]}}",
        "not yours to set",
    ),
    ("OAuthClient", "{tokens: {accessTokenLifetime: 0s}}", "from 1s to 24h"),
    ("OAuthClient", "{tokens: {accessTokenLifetime: 25h}}", "from 1s to 24h"),
    ("ScopePolicy", "{}", "audience: Required value"),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', targetRefs: [{group: '', kind: HTTPRoute, name: a}]}",
        "gateway.networking.k8s.io with kind: HTTPRoute",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', targetRefs: [{group: gateway.networking.k8s.io, kind: Service, name: a}]}",
        "with kind: Service",
    ),
    ("ScopePolicy", "{audience: 'https://a.b', routes: [{hosts: []}]}", "should have at least 1 items"),
    ("ScopePolicy", "{audience: 'https://a.b', routes: [{hosts: ['https://a.b']}]}", "should match"),
    ("ScopePolicy", "{audience: 'https://a.b', scopes: [{name: a}, {name: a}]}", "duplicate entries for key"),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', grants: [{scopes: [a], to: [{namespaces: Same, client: b}]}]}",
        "exactly one of namespaces",
    ),
    ("ScopePolicy", "{audience: 'https://a.b', grants: [{scopes: [a], to: [{}]}]}", "exactly one of namespaces"),
    ("ScopePolicy", "{audience: 'https://a.b', grants: [{scopes: [a]}]}", "to: Required value"),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', grants: [{scopes: [a], to: [{namespaces: Some}]}]}",
        "supported values: \"Same\", \"All\"",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', grants: [{scopes: [a], to: [{namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}]}",
        "In and NotIn need values",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: /}}]}]}",
        "protection: Required value",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [], protection: Public}]}",
        "should have at least 1 items",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: /}}], protection: Scoped}]}",
        "Scoped needs allow",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: /}}], protection: Public, allow: [{scopes: [r]}]}]}",
        "must not have it",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: /}}], protection: Scoped, allow: [{scopes: []}]}]}",
        "should have at least 1 items",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{methods: [get], path: {type: Exact, value: /}}], protection: Public}]}",
        "should match",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: orders}}], protection: Public}]}",
        "should match",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: '/a?b'}}], protection: Public}]}",
        "should match",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Exact, value: '/a/{b}'}}], protection: Public}]}",
        "belong to type Template",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Template, value: '/a/x{b}'}}], protection: Public}]}",
        "each parameter is a whole segment",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Prefix, value: '/a/../b'}}], protection: Public}]}",
        "/./ or /../",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Prefix, value: '/a//b'}}], protection: Public}]}",
        "empty segments",
    ),
    (
        "ScopePolicy",
        "{audience: 'https://a.b', rules: [{name: a, matches: [{path: {type: Regex, value: '/a'}}], protection: Public}]}",
        "supported values",
    ),
    ("ScopePolicy", "{audience: 'https://a.b', tokenSources: []}", "should have at least 1 items"),
    ("NamespaceAllowance", "{}", "namespaceSelector: Required value"),
    ("NamespaceAllowance", "{namespaceSelector: {}, hosts: ['https://api.example.com']}", "should match"),
    ("NamespaceAllowance", "{namespaceSelector: {}, maxAccessTokenLifetime: 48h}", "from 1s to 24h"),
    ("SigningKey", "{algorithm: HS256}", "supported values"),
    ("SigningKey", "{source: {type: Imported}}", "supported values"),
    ("SigningKey", "{rotation: {period: 30m}}", "prePublish (1h when unset) must be shorter"),
    ("SigningKey", "{revokedKeyIds: [short]}", "should match"),
];

/// Statuses with everything a controller may report, each with a spec to go with it.
pub const STATUSES: &[(&str, &str, &str)] = &[
    (
        "OAuthClient",
        "{}",
        "{clientId: shop.checkout, observedGeneration: 3, conditions: [{type: Ready, status: 'True', observedGeneration: 3, reason: Ready, message: '', lastTransitionTime: '2026-11-22T04:00:00Z'}], grants: 1 of 2, granted: [{audience: 'x:y', scopes: [r]}], refused: [{audience: 'x:y', scope: w, reason: NotGranted, message: ask}], epoch: 4, epochBasis: {state: Active, tokensNotBefore: '2026-11-22T04:00:00Z', rejectIssuedBefore: '2026-11-22T04:00:00Z'}, secret: {name: a, issuedAt: '2026-11-22T04:00:00Z', acceptedSince: '2026-11-22T04:00:00Z', previousLastUsedAt: '2026-11-22T04:00:00Z', nextRotation: '2026-11-22T04:00:00Z'}}",
    ),
    (
        "ScopePolicy",
        "{audience: 'x:y'}",
        "{observedGeneration: 1, conditions: [], rules: 1 of 2, problems: [{element: 'spec.rules[0]', reason: AmbiguousRule, message: both deny}], ancestors: [{ancestorRef: {group: gateway.networking.k8s.io, kind: Gateway, namespace: a, name: b}, controllerName: countersign.dev/default, conditions: []}]}",
    ),
    ("NamespaceAllowance", "{namespaceSelector: {}}", "{observedGeneration: 1, conditions: []}"),
    (
        "SigningKey",
        "{}",
        "{observedGeneration: 1, conditions: [], activeKeyId: NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs, nextRotation: '2026-11-22T04:00:00Z', keyCount: 1, keys: [{keyId: NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs, state: Active, algorithm: ES256, publishedAt: '2026-11-22T04:00:00Z', activatedAt: '2026-11-22T04:00:00Z', verifiesUntil: '2026-11-22T04:00:00Z'}]}",
    ),
];
