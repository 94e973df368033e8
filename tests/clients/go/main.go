// Command go-client gets an access token, or exchanges one, with golang.org/x/oauth2, the way most Kubernetes software does, and prints the answer as JSON.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	tokenURL := flag.String("token-endpoint", "", "where tokens are asked for")
	clientID := flag.String("client-id", "", "the client's id")
	resource := flag.String("resource", "", "the audience, as RFC 8707 names it")
	scope := flag.String("scope", "", "scopes, separated by spaces")
	method := flag.String("auth-method", "", "client_secret_basic, client_secret_post, client_assertion, or empty to let the library probe")
	ca := flag.String("ca", "", "file with the certificate authority to trust")
	cert := flag.String("cert", "", "file with the certificate to show, in place of a secret")
	key := flag.String("key", "", "file with its key")
	flag.Parse()

	config := clientcredentials.Config{
		ClientID:     *clientID,
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     *tokenURL,
		Scopes:       strings.Fields(*scope),
	}
	config.EndpointParams = url.Values{}
	if *resource != "" {
		config.EndpointParams.Set("resource", *resource)
	}
	if subject := os.Getenv("SUBJECT_TOKEN"); subject != "" {
		config.EndpointParams.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
		config.EndpointParams.Set("subject_token", subject)
		config.EndpointParams.Set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
	}
	switch *method {
	case "client_secret_basic":
		config.AuthStyle = oauth2.AuthStyleInHeader
	case "client_secret_post":
		config.AuthStyle = oauth2.AuthStyleInParams
	case "client_assertion":
		config.AuthStyle = oauth2.AuthStyleInParams
		config.EndpointParams.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		config.EndpointParams.Set("client_assertion", os.Getenv("CLIENT_ASSERTION"))
	}

	if *cert != "" {
		config.AuthStyle = oauth2.AuthStyleInParams
	}

	ctx := context.Background()
	if *ca != "" {
		client, err := trusting(*ca, *cert, *key)
		if err != nil {
			return err
		}
		ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	}
	token, err := config.Token(ctx)
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.ErrorCode != "" {
		return print(map[string]any{"error": refused.ErrorCode})
	}
	if err != nil {
		return fmt.Errorf("get a token: %w", err)
	}
	return print(map[string]any{
		"access_token": token.AccessToken,
		"token_type":   token.TokenType,
		"expires_in":   token.ExpiresIn,
		"scope":        token.Extra("scope"),
	})
}

func trusting(file, cert, key string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	config := &tls.Config{RootCAs: roots}
	if cert != "" {
		own, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate to show: %w", err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, nil
}

func print(answer map[string]any) error {
	return json.NewEncoder(os.Stdout).Encode(answer)
}
