# Every target is one script or one cargo command; the scripts say what they install.
.DEFAULT_GOAL := help
.PHONY: help run test bench fmt lint prepare clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the sandbox and the bot; prints the page's URL (Ctrl-C ends both)
	@scripts/run

test: ## set up and run all tests
	@scripts/test

bench: ## measure, and print a table
	@scripts/bench

fmt: ## format the code
	@cargo fmt --all

lint: ## what CI checks beside the tests
	@scripts/lint

prepare: ## write .sqlx again after a change of SQL or migrations
	@scripts/prepare

clean: ## remove the sandbox's state (.sandbox); built files stay, `cargo clean` removes them
	@rm -rf .sandbox
