"""Gets an access token, or exchanges one, with Authlib, which also validates the server's metadata, and prints the answer as JSON."""

import argparse
import json
import os
import sys
import time

flags = argparse.ArgumentParser()
for name in ("issuer", "client-id", "resource", "scope", "auth-method", "ca", "cert", "key"):
    flags.add_argument(f"--{name}")
args = flags.parse_args()
if args.issuer.startswith("http://"):
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # read when Authlib is imported

from authlib.integrations.base_client.errors import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # noqa: E402
from joserfc.jwk import ECKey  # noqa: E402

extra = {}
secret = os.environ["CLIENT_SECRET"]
method = args.auth_method or "client_secret_basic"
if method == "client_assertion":  # somebody else's, here the kubelet's: Authlib sends along what it is given
    method = "none"
    extra["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    extra["client_assertion"] = os.environ["CLIENT_ASSERTION"]
if method == "private_key_jwt":
    pem = "-----BEGIN PRIVATE KEY-----\n" + os.environ["CLIENT_KEY"] + "\n-----END PRIVATE KEY-----\n"
    secret = ECKey.import_key(pem)  # a text it takes for an RSA key

with OAuth2Session(
    args.client_id,
    secret,
    scope=args.scope,
    token_endpoint_auth_method="none" if args.cert else method,
) as session:
    session.trust_env = False  # REQUESTS_CA_BUNDLE would win over verify
    session.verify = args.ca or True
    session.cert = (args.cert, args.key) if args.cert else None
    # What it calls the token endpoint is the assertion's audience, and by itself it lets one live for an hour.
    session.register_client_auth_method(PrivateKeyJWT(args.issuer, {"exp": int(time.time()) + 60}, alg="ES256"))
    answer = session.get(get_well_known_url(args.issuer, external=True), withhold_token=True)
    answer.raise_for_status()
    metadata = AuthorizationServerMetadata(answer.json())
    if args.issuer.startswith("https://"):
        metadata.validate()
    request = {"grant_type": "client_credentials", **extra}
    if subject_token := os.environ.get("SUBJECT_TOKEN"):
        request = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": subject_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            **extra,
        }
    if args.resource:
        request["resource"] = args.resource
    try:
        token = session.fetch_token(metadata["token_endpoint"], **request)
        json.dump(token, sys.stdout)
    except OAuthError as refusal:
        json.dump({"error": refusal.error}, sys.stdout)
