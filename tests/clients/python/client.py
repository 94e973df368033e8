"""Gets an access token, or exchanges one, with Authlib, which also validates the server's metadata, and prints the answer as JSON."""

import argparse
import json
import os
import sys

flags = argparse.ArgumentParser()
for name in ("issuer", "client-id", "resource", "scope", "auth-method", "ca", "cert", "key"):
    flags.add_argument(f"--{name}")
args = flags.parse_args()
if args.issuer.startswith("http://"):
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # read when Authlib is imported

from authlib.integrations.base_client.errors import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # noqa: E402

extra = {}
method = args.auth_method or "client_secret_basic"
if method == "client_assertion":  # somebody else's, here the kubelet's: Authlib sends along what it is given
    method = "none"
    extra["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    extra["client_assertion"] = os.environ["CLIENT_ASSERTION"]

with OAuth2Session(
    args.client_id,
    os.environ["CLIENT_SECRET"],
    scope=args.scope,
    token_endpoint_auth_method="none" if args.cert else method,
) as session:
    session.trust_env = False  # REQUESTS_CA_BUNDLE would win over verify
    session.verify = args.ca or True
    session.cert = (args.cert, args.key) if args.cert else None
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
