# Cellblock: `make demo` shows it, `make test` proves it, `make build` gives bin/cellblock.
# Both of the first two set up what they need (Debian 12 or later, root, Go).

SHELL       := /bin/bash
GO          ?= go
BIN         := bin
NATIVE      := nsjail/native
DIST        := $(NATIVE)/dist
VERSION     ?= $(shell git describe --always --dirty 2>/dev/null || echo devel)
LINT        := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

CFLAGS_INIT := -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -fcf-protection=none \
                 -O2 -Wall -Wextra -Werror -Wl,--build-id=none,-z,noseparate-code -s
CFLAGS_LOCK   := -shared -fPIC -O2 -nostartfiles -nostdlib -fno-stack-protector -Wall -Wextra -Werror \
                 -Wl,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code,--build-id=none -s
CFLAGS_FORK   := $(CFLAGS_LOCK) -fvisibility=hidden $(if $(filter x86_64,$(shell uname -m)),-mno-red-zone)

.PHONY: all build deb native deps deps-npm deps-test deps-bench demo test test-unit test-mutation test-faults test-races test-soak test-load fuzz test-vm vm-shell deps-vm lint bench generate clean help install

all: build

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-12s %s\n", $$1, $$2}'

# ---- what the machine must have ----

# $(call need,package…): install the Debian packages that are missing.
define need
	@missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

deps: ## compiler and Python
	$(call need,gcc libc6-dev python3)

deps-demo: deps
	$(call need,python3-numpy python3-pandas python3-matplotlib python-matplotlib-data)

deps-vm:
	$(call need,mmdebstrap qemu-system-x86 e2fsprogs)

# Clients of other makers, from npm, by the committed lock file; no script of theirs runs.
NPM_DIR := tests/npm

deps-npm: $(NPM_DIR)/node_modules/.package-lock.json ## npm packages that tests speak with, in tests/npm

$(NPM_DIR)/node_modules/.package-lock.json: $(NPM_DIR)/package.json $(NPM_DIR)/package-lock.json
	@command -v npm >/dev/null || { echo "installing nodejs npm"; export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; }
	npm ci --prefix $(NPM_DIR) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

deps-test: deps-demo deps-npm
	$(call need,libseccomp-dev pkg-config libpython3.11-testsuite python3-venv python3-pip python3-pytest python3-hypothesis bubblewrap mypy)

# ---- build ----

native: $(DIST)/init $(DIST)/lock.so $(DIST)/fork.so ## the programs that run before or without Go

HEADERS := $(wildcard $(NATIVE)/src/*.h)

$(DIST)/init: $(NATIVE)/src/init.c $(HEADERS) Makefile
	gcc $(CFLAGS_INIT) -o $@ $<

$(DIST)/lock.so: $(NATIVE)/src/lock.c $(HEADERS) Makefile
	gcc $(CFLAGS_LOCK) -o $@ $<

$(DIST)/fork.so: $(NATIVE)/src/fork.c $(HEADERS) Makefile
	gcc $(CFLAGS_FORK) -o $@ $<

build: deps native ## bin/cellblock, with bin/cellblock-service and bin/cellblock-warden beside it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w -X github.com/cellblock/cellblock/internal/cli.version=$(VERSION)' -o $(BIN)/ ./cmd/cellblock
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w -X github.com/cellblock/cellblock/internal/servicecli.version=$(VERSION)' -o $(BIN)/ ./cmd/cellblock-service
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w -X github.com/cellblock/cellblock/internal/wardencli.version=$(VERSION)' -o $(BIN)/ ./cmd/cellblock-warden

generate: ## compile the filters again (needs libseccomp-dev)
	$(GO) generate ./seccomp

PREFIX ?= /usr/local

install: build ## bin/cellblock, its man pages and completions, below PREFIX (/usr/local)
	install -D -m 755 $(BIN)/cellblock $(DESTDIR)$(PREFIX)/bin/cellblock
	install -D -m 755 $(BIN)/cellblock-service $(DESTDIR)$(PREFIX)/bin/cellblock-service
	install -D -m 755 $(BIN)/cellblock-warden $(DESTDIR)$(PREFIX)/bin/cellblock-warden
	$(BIN)/cellblock man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/vendor-completions fish/vendor_completions.d)
	$(BIN)/cellblock completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/cellblock
	$(BIN)/cellblock completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_cellblock
	$(BIN)/cellblock completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/cellblock.fish

NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
DEB_VERSION ?= 0.0.$(shell git log -1 --format=%ct 2>/dev/null || echo 0)

deb: build ## out/cellblock.deb: the programs, a systemd unit, a configuration
	mkdir -p out/deb
	cp $(BIN)/cellblock $(BIN)/cellblock-service $(BIN)/cellblock-warden out/deb/
	$(BIN)/cellblock man out/deb/man
	VERSION=$(DEB_VERSION) ARCH=$$($(GO) env GOARCH) $(GO) run $(NFPM) package -f packaging/nfpm.yaml -p deb -t out/cellblock.deb

# ---- use ----

demo: deps-demo build ## a pandas script reads a real CSV, plots it, and an attack is refused
	@bash examples/demo.sh

# ---- prove ----

test: deps-test build lint ## everything, on this machine
	bash tests/run.sh

test-faults: $(NATIVE)/faulty/init ## each system call that builds or ends a cell fails once; SHORT=1 takes samples
	$(GO) test -count=1 -timeout 20m -tags cellblock_faults -v $(if $(SHORT),-short) ./tests/faults

test-races: ## links and directories are swapped under the host's file handling; SWAPS=1000000 for each race
	CELLBLOCK_SWAPS=$(or $(SWAPS),1000000) $(GO) test -count=1 -timeout 2h -v -run '^TestRace' ./internal/workspace

test-soak: native ## cells are made and ended, half of them hostile; CYCLES=10000
	CELLBLOCK_CYCLES=$(or $(CYCLES),10000) $(GO) test -count=1 -timeout 3h -v -run '^TestSoak$$' ./tests/soak

test-load: native ## clients of a service, half of what they ask for hostile; LOAD_TIME=10m LOAD_SESSIONS=500 LOAD_CLIENTS=50; LOAD_SPLIT=1 in two processes, of which one is killed LOAD_RESTARTS=5 times
	LOAD_TIME=$(or $(LOAD_TIME),10m) LOAD_SESSIONS=$(or $(LOAD_SESSIONS),500) LOAD_CLIENTS=$(or $(LOAD_CLIENTS),50) LOAD_RESTARTS=$(or $(LOAD_RESTARTS),5) \
	  $(GO) test -count=1 -timeout 3h -v -run '^TestLoad$(if $(LOAD_SPLIT),Split)$$' ./tests/service

fuzz: native ## each fuzz target for FUZZTIME=30s; FUZZWORKERS=1 ONLY=pattern
	@FUZZTIME="$(FUZZTIME)" FUZZWORKERS="$(FUZZWORKERS)" ONLY="$(ONLY)" bash tests/fuzz.sh

$(NATIVE)/faulty/init: $(NATIVE)/src/init.c $(HEADERS) Makefile
	mkdir -p $(@D)
	gcc $(CFLAGS_INIT) -DCELLBLOCK_FAULTS -o $@ $<

test-vm: build deb deps-vm ## the suites on Debian 13, and the package on 12, with systemd and pure cgroup v2, under emulation; SUITE=bookworm (all on Debian 12) ONLY=package,package RUN=test V=1 UPDATE=1 TIMEOUT=40m
	$(GO) run ./tests/vm test $(if $(SUITE),-suite $(SUITE)) $(if $(ONLY),-only $(ONLY)) $(if $(RUN),-run '$(RUN)') $(if $(V),-v) $(if $(UPDATE),-update) $(if $(TIMEOUT),-timeout $(TIMEOUT))

vm-shell: build deb deps-vm ## a console in such a machine; commands on its standard input are run there; SUITE=bookworm
	$(GO) run ./tests/vm shell $(if $(SUITE),-suite $(SUITE))

test-mutation: deps-test native ## one layer left out at a time: a probe must notice; UPDATE=1 writes the table
	$(GO) test -count=1 -timeout 15m -parallel 3 -tags cellblock_weaken -run '^TestMutation$$' -v ./tests/escape $(if $(UPDATE),-args -update)
	$(GO) test -count=1 -timeout 5m -tags cellblock_weaken -run '^TestMutation$$' -v ./internal/warden

lint:
	$(GO) vet ./...
	$(GO) vet -tags cellblock_weaken ./...
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	$(GO) run $(LINT) run --allow-parallel-runners

deps-bench: deps-test
	$(call need,python3-ipykernel python3-jupyter-client)

bench: deps-bench build ## interleaved medians and ratios; ROUNDS=50 ONLY=name,name
	$(GO) run ./tests/bench $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(ONLY),-only $(ONLY))

clean:
	rm -rf $(BIN) $(DIST)/init $(DIST)/lock.so $(DIST)/fork.so $(NATIVE)/faulty bench.json
