# kvd: one Makefile, everything under build/. `make help` lists what it can do.
#
# VARIANT=name builds beside the others under build/name, with programs and tests of its own. Words in
# the name choose how: asan, tsan, clang, and nostamps (without the stamps of stages, to measure what they
# cost); any other word only names the folder.
ifneq ($(shell uname -m),x86_64)
$(error kvd runs on x86-64 only: the goroutine switch and preemption of this CPU are not written yet)
endif

VARIANT  ?=
B        := build$(VARIANT:%=/%)
VERSION  := 0.1.0
CC       := $(if $(findstring clang,$(VARIANT)),clang,gcc)
SANITIZE := $(if $(findstring asan,$(VARIANT)),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all -DRT_ASAN)$(if $(findstring tsan,$(VARIANT)),-fsanitize=thread -DRT_TSAN)
CPPFLAGS := -I. -Iruntime/include -I$B/gen -D_GNU_SOURCE -DKVD_VERSION='"$(VERSION)"' $(if $(findstring nostamps,$(VARIANT)),-DKVD_NO_STAMPS) -MMD -MP
WARN     := -Wall -Wextra -Wshadow -Werror -Wvla -Walloca $(if $(SANITIZE),,-Wframe-larger-than=4096)
CFLAGS   := -std=gnu11 -O2 -g -fPIE -fno-omit-frame-pointer -fstack-clash-protection -fno-plt $(WARN) $(SANITIZE)
LDFLAGS  := -pie -Wl,-z,now -Wl,-z,noexecstack $(SANITIZE)
LDLIBS   := -lnghttp2 -llmdb -lprotobuf-c -luring -lpthread
LAB_LIBS := -lssl -lcrypto -lm
PREFIX   ?= /usr/local
# Unless the user chose, the quick-start commands build on all CPUs.
JOBS      = $(if $(filter -j% --jobs%,$(MAKEFLAGS)),,-j$(shell nproc))

RT_SRC    := $(shell find runtime -name '*.[cS]' -not -path '*/examples/*')
PROTO_DEF := $(wildcard proto/*.proto)
GEN_C     := $(PROTO_DEF:%.proto=$B/gen/%.pb-c.c)
# One relocatable object a room: its text is the section rt_go, which preemption may interrupt.
ROOMS     := raft wal proto kv/store kv/member kv/service cmd/kvd cmd/kvctl cmd/kvlab
room_src   = $(wildcard $1/*.c)
room_obj   = $B/$(subst /,-,$1).rt_go.o
LIB_ROOMS := raft wal proto kv/store kv/member kv/service
EXAMPLES  := $(patsubst %.c,$B/%,$(wildcard runtime/examples/*.c))
TEST_C    := $(shell find tests -name 'test_*.c')
TESTS     := $(TEST_C:%.c=$B/%)
TOOL_C    := $(shell find tests -name 'tool_*.c')
TOOLS     := $(TOOL_C:%.c=$B/%)
BENCHES   := $(patsubst %.c,$B/%,$(wildcard tests/bench/runtime/*.c))
GO_BENCH  := $(patsubst %.go,$B/%,$(filter-out %/common.go,$(wildcard tests/bench/runtime/go/*.go)))

# What a test of a folder links, besides the runtime.
needs_tests/runtime    :=
needs_tests/raft       := raft
needs_tests/wal        := wal
needs_tests/proto      := proto
needs_tests/kv/store   := kv/store proto
needs_tests/kv/member  := kv/member kv/store proto raft wal
needs_tests/kv/service := $(LIB_ROOMS)
needs_tests/cmd        := cmd/parts cmd/kvlab-parts proto
needs_tests/e2e        := proto
needs_tests/bench      := $(LIB_ROOMS)
needs_tests/fault      := $(LIB_ROOMS)
needs_tests/sim        := $(LIB_ROOMS)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

all: $B/kvd $B/kvctl $B/kvlab ## build the server, its client and the experiments

$B/kvd:   $(foreach r,$(LIB_ROOMS) cmd/kvd,$(call room_obj,$r)) $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $(filter %.rt_go.o,$^) $B/librt.a $(LDLIBS) -o $@
$B/kvctl: $(foreach r,proto cmd/kvctl,$(call room_obj,$r)) $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $(filter %.rt_go.o,$^) $B/librt.a $(LDLIBS) -o $@
$B/kvlab: $(foreach r,proto cmd/kvlab,$(call room_obj,$r)) $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $(filter %.rt_go.o,$^) $B/librt.a $(LDLIBS) $(LAB_LIBS) -o $@

$B/librt.a: $(RT_SRC:%=$B/%.o)
	@echo "  AR    $@"; rm -f $@; ar rcs $@ $^

# As it is installed: one object, in which only what the headers name is visible to the linker, and the
# C library's name for a failed assertion, which ours takes over.
$B/libkvdrt.a: $B/librt.a $(wildcard runtime/include/rt/*.h)
	@echo "  AR    $@"; mkdir -p $B/libkvdrt; ld -r --whole-archive -o $B/libkvdrt/hidden.o $B/librt.a
	@cat $(filter %.h,$^) | gcc -w -fpreprocessed -dD -E -P - | grep -oE '\b(rt|why)_[a-z0-9_]+' | sort -u >$B/libkvdrt/names
	@echo __assert_fail >>$B/libkvdrt/names
	@objcopy --keep-global-symbols=$B/libkvdrt/names $B/libkvdrt/hidden.o $B/libkvdrt/kvdrt.o
	@rm -f $@; ar rcs $@ $B/libkvdrt/kvdrt.o

define room_rule
$(call room_obj,$1): $(patsubst %,$B/%.o,$(call room_src,$1)) $(if $(filter proto,$1),$(GEN_C:%=%.o)) runtime/rt_go.ld
	@echo "  LD -r $$@"; ld -r -T runtime/rt_go.ld -o $$@ $$(filter %.o,$$^)
endef
$(foreach r,$(ROOMS),$(eval $(call room_rule,$r)))
# The parts of kvd and kvctl that need no cluster, for their tests.
$B/cmd-parts.rt_go.o: $(patsubst %,$B/%.o,$(filter-out %/main.c %/wire.c,$(wildcard cmd/kvd/*.c cmd/kvctl/*.c))) runtime/rt_go.ld
	@echo "  LD -r $@"; ld -r -T runtime/rt_go.ld -o $@ $(filter %.o,$^)

$B/cmd-kvlab-parts.rt_go.o: $(patsubst %,$B/%.o,$(filter-out %/main.c,$(wildcard cmd/kvlab/*.c))) runtime/rt_go.ld
	@echo "  LD -r $@"; ld -r -T runtime/rt_go.ld -o $@ $(filter %.o,$^)

$B/gen/%.pb-c.c $B/gen/%.pb-c.h: %.proto
	@mkdir -p $(@D); echo "  PROTO $<"; protoc-c -I. --c_out=$B/gen $<
$B/gen/%.pb-c.c.o: $B/gen/%.pb-c.c | $(GEN_C)
	@echo "  CC    $<"; $(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$B/%.c.o: %.c | $(GEN_C)
	@mkdir -p $(@D); echo "  CC    $<"; $(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$B/%.S.o: %.S
	@mkdir -p $(@D); echo "  AS    $<"; $(CC) $(CPPFLAGS) $(filter-out -Werror,$(CFLAGS)) -c $< -o $@
# Programs of one file: tests, examples, benches. Their own text is goroutine code, too.
$B/%.rt_go.o: $B/%.c.o runtime/rt_go.ld
	@ld -r -T runtime/rt_go.ld -o $@ $<

.SECONDEXPANSION:
$(EXAMPLES): $B/%: $B/%.rt_go.o $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@
# The folder of a test decides what it links: the longest needs_ entry that fits.
test_dir   = $(patsubst $B/%/,%,$(dir $1))
test_needs = $(foreach r,$(needs_$(call test_dir,$1)),$(call room_obj,$r))
$(TESTS): $B/%: $B/%.rt_go.o $$(call test_needs,$$@) $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $(filter %.o,$^) $B/librt.a $(LDLIBS) $(if $(findstring /cmd/,$@),$(LAB_LIBS)) -lcmocka -lm -o $@
$B/tests/runtime/test_torture: LDLIBS += -lssl -lcrypto
$(TOOLS): $B/%: $B/%.rt_go.o $$(call test_needs,$$@) $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $(filter %.o,$^) $B/librt.a $(LDLIBS) -o $@

$(BENCHES): $B/%: $B/%.rt_go.o $B/librt.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) $^ $(LDLIBS) -lm -o $@
$(GO_BENCH): $B/%: %.go tests/bench/runtime/go/common.go
	@mkdir -p $(@D); echo "  GO    $<"; GO111MODULE=off GOFLAGS= GOCACHE=$(abspath $B)/go-cache go build -o $@ $^

deps:                       ## install the packages that building and running need (no service is started)
	@deploy/deps.sh build
test-deps: deps
	@deploy/deps.sh test

examples: deps              ## build the examples of the runtime: $B/runtime/examples/
	@$(MAKE) --no-print-directory $(JOBS) $(EXAMPLES)
run: deps                   ## build, start three members on loopback, print how to talk to them
	@$(MAKE) --no-print-directory $(JOBS) all
	@deploy/run.sh $B

test: test-deps             ## run every test (the short forms); ends with "N passed, N failed"
	@$(MAKE) --no-print-directory $(JOBS) tests-built
	@KVD_BUILD=$B tests/support/run.sh $(TESTS) $(shell find tests -name 'test_*.sh' -o -name 'test_*.py')
tests-built: all $(TESTS) $(EXAMPLES) $(TOOLS) $(BENCHES)

unit-%: ; @$(MAKE) --no-print-directory $(filter $B/tests/$*/%,$(TESTS)) && KVD_BUILD=$B tests/support/run.sh $(filter $B/tests/$*/%,$(TESTS))

check: test-deps            ## the long form: second compiler, poller and log form, sanitizers, full kill tests
	@tests/support/check.sh
check-bare-root: deps       ## both quick-start commands and the clients in a fresh Debian 12 root
	@tests/support/check_bare_root.sh
bench:                      ## kvd beside etcd on this machine, in one run
	@deploy/deps.sh bench
	@$(MAKE) --no-print-directory $(JOBS) all
	@tests/bench/beside_etcd.py $B
bench-runtime:              ## the runtime beside Go and others on this machine, in one run; ROWS=regex for some rows
	@deploy/deps.sh bench-runtime
	@$(MAKE) --no-print-directory $(JOBS) bench-runtime-built
	@tests/bench/runtime/run.py $B $(if $(ROWS),--rows '$(ROWS)') --out $B/bench-runtime.json
bench-runtime-built: $(BENCHES) $(GO_BENCH)
bench-stamps:               ## what the stamps of stages cost: CPU time a put with them and without
	@deploy/deps.sh bench
	@$(MAKE) --no-print-directory $(JOBS) $B/kvd
	@$(MAKE) --no-print-directory $(JOBS) VARIANT=$(VARIANT:%=%-)nostamps build/$(VARIANT:%=%-)nostamps/kvd
	@tests/bench/stamps.py $B build/$(VARIANT:%=%-)nostamps
# What kvlab runs beside itself; Go's counterparts only where Go is.
LAB_PROGRAMS := $(filter %/defers %/alloc %/alloc_onelock %/alloc_malloc %/steal %/gc,$(BENCHES)) \
	$(if $(shell command -v go),$(filter %/defers %/alloc,$(GO_BENCH)))
experiments:                ## the quick form of every kvlab experiment, with a report: $B/experiments/report.html
	@deploy/deps.sh experiments
	@$(MAKE) --no-print-directory $(JOBS) all $(LAB_PROGRAMS)
	@rm -rf $B/experiments && $B/kvlab all --quick --out $B/experiments
asan: test-deps             ## unit tests and a short cluster test under AddressSanitizer and UBSan
	@tests/support/sanitized.sh asan
tsan: test-deps             ## the same under ThreadSanitizer
	@tests/support/sanitized.sh tsan

lint:                       ## formatting, folder arrows, symbols, goroutine code without thread-locals
	@clang-format --dry-run -Werror $(shell git ls-files '*.c' '*.h')
	@tests/support/test_layers.sh
fmt:                        ## rewrite the sources in the house's format
	@clang-format -i $(shell git ls-files '*.c' '*.h')

install: all install-runtime ## install programs, the runtime library and the systemd unit under PREFIX
	install -D -m 755 $B/kvd $(DESTDIR)$(PREFIX)/bin/kvd
	install -D -m 755 $B/kvctl $(DESTDIR)$(PREFIX)/bin/kvctl
	install -D -m 755 $B/kvlab $(DESTDIR)$(PREFIX)/bin/kvlab
	install -D -m 644 deploy/systemd/kvd.service $(DESTDIR)/lib/systemd/system/kvd.service
# Not as librt.a: the C library has one. $(PREFIX) of the .pc is where it will be used.
install-runtime: $B/libkvdrt.a ## install the runtime alone: library, headers, linker script, gdb script
	install -D -m 644 $B/libkvdrt.a $(DESTDIR)$(PREFIX)/lib/libkvdrt.a
	install -D -m 644 runtime/rt_go.ld $(DESTDIR)$(PREFIX)/lib/kvdrt/rt_go.ld
	install -d $(DESTDIR)$(PREFIX)/include/rt $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 runtime/include/rt/*.h $(DESTDIR)$(PREFIX)/include/rt
	install -D -m 644 runtime/gdb/rt_gdb.py $(DESTDIR)$(PREFIX)/share/kvdrt/rt_gdb.py
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' runtime/kvdrt.pc.in >$(DESTDIR)$(PREFIX)/lib/pkgconfig/kvdrt.pc
clean:                      ## remove build/
	rm -rf build
help:                       ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: all deps test-deps examples run test tests-built check check-bare-root bench bench-runtime bench-runtime-built experiments asan tsan lint fmt install install-runtime clean help
-include $(shell find $B -name '*.d' 2>/dev/null)
