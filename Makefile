# pgo. `make help` lists what can be made.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX   ?= /usr/local
FUZZTIME ?= 10s
# For one test, with its full output: make test TESTFLAGS='-run TestFirstStart -v'
TESTFLAGS ?=

# The race detector makes every program sleep for a second at its end, and the tests start
# their own binary hundreds of times.
RACE = GORACE=atexit_sleep_ms=10

LDFLAGS = -X pgo/internal/version.Version=$(VERSION)
# The linters are pinned in a module of their own, so that the product's has
# only what the product needs.
LINT = go tool -modfile=test/tools/lint/go.mod

.SHELLFLAGS = -euc
.PHONY: build machine test test-today test-all demo bench fuzz lint generate check-generated man install clean help

build: ## build the static binaries into bin/ (the default)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	@chmod 711 bin/pgo-worker # see install
	@for name in pgod pgo-worker pgoctl; do ln -sf ../../bin/$$name cmd/$$name/$$name; done

machine: ## install and start what tests and demo need (Debian, root)
	test/machine.sh

test: machine ## run the unit tests and then the end-to-end tests (root)
	$(RACE) go test -race -timeout 20m $(TESTFLAGS) $$(go list ./... | grep -v '^pgo/test')
	$(MAKE) build
	$(RACE) go test -race -count=1 -parallel 4 -timeout 75m $(TESTFLAGS) ./test/...

# ENGINE, COMPOSE and BUILDX choose other combinations: see test/today.sh.
test-today: machine ## run the tests that touch the engine on today's Docker, built and started for them (root)
	test/today.sh $(TESTFLAGS)

test-all: machine ## run all end-to-end tests on today's Docker (root)
	PGO_TEST_PROJECTS=all test/today.sh --all $(TESTFLAGS)

demo: machine build ## deploy two small services before your eyes (root; KEEP=1 leaves them running)
	go run ./test/demo

bench: machine build ## run the benchmarks (root)
	go test -p 1 -run '^$$' -bench . -benchmem -timeout 30m ./...

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# Closing what was read, and printing, are exempt from the check for unchecked errors: code
# whose output must be complete checks both all the same.
lint: check-generated ## check format, vet, staticcheck, unchecked errors, generated code
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on: $$unformatted" >&2; exit 1; }
	go vet ./...
	$(LINT) staticcheck ./...
	$(LINT) errcheck -exclude test/tools/lint/errcheck.txt ./...

PROTOC = protoc --plugin=$$(go tool -n protoc-gen-go) --plugin=$$(go tool -n protoc-gen-go-grpc) \
	--go_opt=paths=source_relative --go-grpc_opt=paths=source_relative

generate: ## generate proto/*.pb.go
	$(PROTOC) --go_out=. --go-grpc_out=. proto/worker.proto

# The header names the protoc that made the file, which may be another one here.
check-generated:
	@command -v protoc >/dev/null || { echo "protoc is missing, which checks that proto/*.pb.go are current: run make machine" >&2; exit 1; }; \
	out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(PROTOC) --go_out=$$out --go-grpc_out=$$out proto/worker.proto; \
	for file in $$out/proto/*; do \
		diff -I '^// [-	]* *protoc  ' proto/$${file##*/} $$file || { echo "$${file##*/} is not current: run make generate" >&2; exit 1; }; \
	done

man: ## make the manual pages from their sources, into bin/man/
	mkdir -p bin/man
	for page in cmd/*/*.[18].md; do name=$${page##*/}; go tool go-md2man -in $$page -out bin/man/$${name%.md}; done

install: build man ## install under $(DESTDIR)$(PREFIX)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/sbin bin/pgod
	# The user that a worker runs as may start the program, but not read it: so the kernel lets
	# none of that user's processes trace it, from the start.
	install -D -m 711 -t $(DESTDIR)$(PREFIX)/sbin bin/pgo-worker
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/pgoctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 bin/man/*.8
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 bin/man/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/pgo docs/pgo.schema.json docs/pgo.example.toml docs/pgod.service

clean: ## remove what was built
	rm -rf bin cmd/pgod/pgod cmd/pgo-worker/pgo-worker cmd/pgoctl/pgoctl

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
