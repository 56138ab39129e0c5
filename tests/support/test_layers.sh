#!/usr/bin/env bash
# The house's arrows and purity, checked on the sources and on the plain gcc build:
#   - who may include whom (README.md, "The tree");
#   - nothing writable outside runtime/: no global state between members of one process;
#   - no clock, random, socket, file, thread or sleep call outside runtime/;
#   - goroutine code (section rt_go) touches no thread-local storage: it may resume on any thread.
# Prints TAP. KVD_BUILD names the build folder.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
failed=0
verdict() { # verdict NAME OFFENDERS
    if [ -z "$2" ]; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "$2" | head -20 | sed 's/^/#   /'; failed=1; fi
}

# Every include "..." of a folder that is not in the list of what it may see.
arrows() { # arrows FOLDER ALLOWED-REGEX
    [ -d "$1" ] || return 0
    find "$1" -maxdepth 1 -name '*.[ch]' -print0 | xargs -0 -r grep -nE '^#include "' | grep -vE "#include \"($2)" || true
}
generated='proto/[a-z_]+\.pb-c\.h|proto/fields\.h'
verdict "runtime includes only itself" "$(find runtime -name '*.[ch]' -print0 | xargs -0 grep -nE '^#include "' | grep -vE '#include "(runtime|rt|sched|sync|poll|mem|panic|inspect|sim)/' || true)"
verdict "raft includes only raft" "$(arrows raft 'raft/'; grep -nE '#include <(rt|unistd|time|pthread|sys)/?' raft/*.[ch] 2>/dev/null || true)"
verdict "wal includes wal and the runtime" "$(arrows wal 'wal/|rt/')"
verdict "proto includes proto and the runtime" "$(arrows proto 'proto/|rt/')"
verdict "store includes store and messages" "$(arrows kv/store "kv/store/|rt/|$generated")"
verdict "member includes the doors of raft, wal, store and messages" "$(arrows kv/member "kv/member/|raft/raft\.h|wal/(wal|errors)\.h|kv/store/store\.h|rt/|$generated|proto/tls\.h")"
verdict "service includes the doors of member, store, proto" "$(arrows kv/service "kv/service/|kv/member/member\.h|kv/store/store\.h|rt/|$generated|proto/(grpc|http1)\.h|proto/rpc\.def")"
verdict "kvd includes the doors of service, member, proto" "$(arrows cmd/kvd "cmd/kvd/|kv/service/service\.h|kv/member/member\.h|rt/|$generated|proto/(grpc|http1|tls)\.h")"
verdict "kvlab includes the doors of proto" "$(arrows cmd/kvlab "cmd/kvlab/|rt/|$generated|proto/(grpc|http1|tls)\.h")"
verdict "kvctl includes the doors of proto" "$(arrows cmd/kvctl "cmd/kvctl/|rt/|$generated|proto/(grpc|http1|tls)\.h")"

objects=$(ls "$B"/{raft,wal,proto,kv-store,kv-member,kv-service,cmd-kvd,cmd-kvctl,cmd-kvlab}.rt_go.o 2>/dev/null)
if [ -z "$objects" ]; then echo "not ok - no objects under $B to look at"; exit 1; fi

writable=$(for o in $objects; do objdump -t "$o" | awk -v o="$o" 'NF > 3 && $(NF-2) ~ /^\.(data|bss|tbss|tdata)/ && $(NF-2) !~ /^\.data\.rel\.ro/ && $(NF-1) != "0000000000000000" {print o ": " $NF " in " $(NF-2)}'; done | grep -v '__descriptor\|__field_' || true)
verdict "nothing writable lives outside the runtime" "$writable"

impure='clock_gettime|clock|time|gettimeofday|nanosleep|usleep|sleep|rand|random|srand|getrandom|getentropy|socket|connect|accept4?|bind|listen|send(to|msg)?|recv(from|msg)?|poll|epoll_.*|select|open(at)?(64)?|creat|read|write|pread(64)?|pwrite(64)?|readv|writev|pwritev2?|preadv2?|fopen(64)?|fsync|fdatasync|rename(at)?|unlink(at)?|mkdir|rmdir|ftruncate(64)?|fallocate(64)?|opendir|readdir|pthread_.*|fork|vfork|execv.*|posix_spawn.*|system|popen|getaddrinfo|signal|sigaction|raise|kill|setjmp|_setjmp|longjmp'
verdict "no clock, random, socket, file, thread or sleep call outside the runtime" \
    "$(for o in $objects; do nm -u "$o" | awk '{print $2}' | grep -xE "$impure" | sed "s|^|$o: |"; done || true)"
pure='mem[a-z]*|str[a-z]*|snprintf|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__start_rt_go|__stop_rt_go'
verdict "raft calls nothing but memory, strings and snprintf" "$(nm -u "$B/raft.rt_go.o" 2>/dev/null | awk '{print $2}' | grep -vxE "$pure" || true)"

# Places where an object touches thread-local storage, by itself or by a call of libc's that keeps something
# for each thread or in one static buffer for all. %fs:0x28 is the stack canary, the same in all threads.
thread_state() { # thread_state OBJECT...
    local o
    for o in "$@"; do
        objdump -d -r --no-show-raw-insn -j rt_go "$o" | grep -E '%fs:' | grep -v '%fs:0x28' | sed "s|^|$o: |"
        nm -u "$o" | awk '{print $2}' | grep -xE '__tls_get_addr|__errno_location|__h_errno_location|__ctype_(b|tolower|toupper)_loc|pthread_self|pthread_getspecific|gettid|sched_getcpu|strerror|strtok|localtime|gmtime|ctime|asctime|strto[a-z]+|__isoc[0-9]+_(strto[a-z]+|sscanf)|ato[a-z]+|isdigit|tolower|toupper|setlocale|getenv|secure_getenv|inet_ntoa|strsignal|gethostbyname2?|gethostbyaddr|getservby(name|port)|perror' | sed "s|^|$o: |"
    done || true
}
# shellcheck disable=SC2086
verdict "goroutine code touches no thread-local storage" "$(thread_state $objects)"

planted=$(mktemp -d)
trap 'rm -rf "$planted"' EXIT
missed=
plant() { # plant C-SOURCE: it must be found
    echo "$1" | cc -O2 -fPIE -x c -c -o "$planted/x.o" - && ld -r -T runtime/rt_go.ld -o "$planted/x.rt_go.o" "$planted/x.o" || missed+="does not build: $1"$'\n'
    [ -n "$(thread_state "$planted/x.rt_go.o")" ] || missed+="$1"$'\n'
}
plant '#include <errno.h>
int f(void) { return errno; }'
plant 'static __thread int mine; int f(void) { return ++mine; }'
plant 'extern __thread int theirs; int f(void) { return theirs; }'
for call in 'const char *s = strsignal(9);' 'perror("x"); const char *s = 0;' 'const char *s = inet_ntoa((struct in_addr){1});' \
    'const char *s = gethostbyname("x")->h_name;' 'const char *s = strerror(1);' 'const char *s = ctime(0);'; do
    plant "#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
const char *f(void) { $call return s; }"
done
verdict "thread-local storage that is planted is found" "${missed%$'\n'}"
outside=$(for o in $objects; do objdump -h "$o" | awk -v o="$o" '$2 ~ /^\.text/ && $3 !~ /^0+$/ {print o ": " $2}'; done || true)
verdict "all goroutine code is in the section rt_go" "$outside"
exit $failed
