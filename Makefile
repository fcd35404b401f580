SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run demo test pictures check fuzz bench bench-oidc bench-signin conformance-scim conformance-oidc conformance-oracle conformance-lockout scim-okta scim-microsoft

LINT := go tool -modfile=tools/go.mod golangci-lint
# SQLite and argon2 are others' code and slow under the race detector: it watches
# ours, which makes the whole of the tests four times as fast.
RACE := -race -gcflags='modernc.org/...=-race=false' -gcflags='golang.org/x/crypto/...=-race=false'
FUZZTIME := 20s
FUZZIN := .

help: ## list the targets
	@sed -nE 's/^([a-z-]+): ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: ## start the server on http://localhost:8080
	go run ./cmd/rolecall serve

demo: ## the same on a throw-away database with five portals and people of every role in it
	go run ./cmd/rolecall demo

test: ## run all tests on SQLite and PostgreSQL; installs what they need and finds missing
	tools/install.sh
	CGO_ENABLED=0 go build -o bin/rolecall ./cmd/rolecall
	go build $(RACE) ./... # by itself it leaves half as much in the temporary folder at a time
	TEST_ROLECALL_BINARY="$(CURDIR)/bin/$$(tools/by-content.sh bin/rolecall)" go test $(RACE) -timeout 30m ./...

pictures: ## take the pictures of docs/pictures anew, in Chromium
	go test -count=1 ./portal -run 'TestJourney|TestLoginPageIsSmall' -args -pictures "$(CURDIR)/docs/pictures"

check: ## format, vet, lint, go.mod; with `make test`, what CI runs
	$(LINT) fmt --diff
	go vet ./...
	$(LINT) run
	go mod tidy -diff

fuzz: ## fuzz every parser below FUZZIN (.), each for FUZZTIME (20s)
	@grep -roE '^func Fuzz\w+' --include='*_test.go' $(FUZZIN) | sed -E 's|^(\./)?|./|; s|/[^/]*:func | |' | sort | while read -r package target; do \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package"; done

bench: ## measure decisions beside other engines, and one instance on PostgreSQL beside what the machine can do at most
	go test -run '^$$' -bench . -benchmem ./authz
	cd authz/peers && go test -count=1 -v -run TestRatio .
	go run ./conformance/load

bench-oidc: ## measure the endpoints of OpenID Connect beside those of npm's oidc-provider
	@go run ./conformance/load -oidc

bench-signin: ## measure signing in beside argon2id alone, and what a flood of it leaves of the rest
	@go run ./conformance/load -signin

conformance-scim: ## hold the server to the RFCs of SCIM and print every requirement
	@go test -count=1 -v -run '^TestRequirements$$' ./conformance/scim | grep -vE '^ *(===|--- (PASS|SKIP))'

conformance-oidc: ## hold the server to the OpenID Foundation's plans and print every module
	@go test -count=1 -v ./conformance/oidc | grep -vE '^ *(===|--- (PASS|SKIP))'

conformance-oracle: ## send the same requests to npm's oidc-provider and print where the two differ, and why
	@go test -count=1 -v -run '^TestOracle$$' ./conformance/peer | grep -vE '^ *(===|--- (PASS|SKIP))'

conformance-lockout: ## switch a thousand people off, and see what is accepted of them afterwards and when applications are told
	@go run ./conformance/load -lockout -people 1000

scim-okta: ## run Okta's specification test; SUITE is its file
	go run ./conformance/suites okta "$(SUITE)"

scim-microsoft: ## run Microsoft's collection for Postman; SUITE is its file
	go run ./conformance/suites microsoft "$(SUITE)"
