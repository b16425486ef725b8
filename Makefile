# SPDX-License-Identifier: BSD-3-Clause
# The commands people type. CMake does the building; this file installs what is missing and calls it.
JOBS    ?= $(shell nproc)
PREFIX  ?= /usr/local
DESTDIR ?=
SECONDS_PER_FUZZER ?= 600
STAGES  ?=

.DEFAULT_GOAL := help
.PHONY: help build test test-all demo fuzz docs deb image install lint format lab bootstrap clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## install the Debian packages that building and testing need
	@scripts/bootstrap

build: bootstrap ## build everything: programs in build/release/bin, libvmux in build/release/lib
	@test -f build/release/build.ninja || cmake --preset release
	@cmake --build --preset release -j $(JOBS)

demo: bootstrap ## two VMs talk through vMux: what happened, in figures
	@echo "demo: building vmux and vmuxctl; the lab (QEMU, Debian's kernels, guests) is made beside them"
	@test -f build/release/build.ninja || cmake --preset release >/dev/null
	@lab/build & lab=$$!; cmake --build --preset release -j $(JOBS) --target vmux vmuxctl && wait $$lab
	@scripts/demo

test: bootstrap ## build and run every test; STAGES="unit e2e" runs only those
	@scripts/test $(STAGES)

test-all: ## the same with every kernel for every test of a guest, and the documentation in a browser: an hour more
	@scripts/bootstrap --all
	@scripts/test --all $(STAGES)

fuzz: bootstrap ## a long run of every fuzz target (SECONDS_PER_FUZZER=600)
	@scripts/test --fuzz-seconds $(SECONDS_PER_FUZZER) fuzz

docs: build ## the documentation as a site with search, and references: build/docs/site
	@scripts/docs

lab: bootstrap ## fetch QEMU and kernels, make the guest images (build/lab)
	@lab/build

deb: build ## make the Debian packages: build/deb
	@scripts/bootstrap --deb
	@scripts/deb

image: deb ## make an OCI image of these packages, with a bill of materials: build/vmux-oci.tar
	@scripts/bootstrap --all
	@scripts/image

lint: bootstrap ## layers, format, clang-tidy and cppcheck
	@scripts/lint

format: bootstrap ## rewrite the sources as clang-format likes them
	@scripts/format

install: build ## install programs, libvmux and headers (DESTDIR= PREFIX=/usr/local)
	@DESTDIR="$(abspath $(DESTDIR))" cmake --install build/release --prefix "$(PREFIX)"

clean: ## remove what was built (the lab's downloads stay: rm -r build removes them too)
	@rm -rf build/release build/debug build/asan build/tsan build/fuzz build/lint-* build/test-logs build/docs build/deb build/vmux-oci.*
