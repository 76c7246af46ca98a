"""Programs in every built-in language, in real jails: what they may do, what becomes of them if they do more.

A language whose compiler or interpreter is not installed is reported as skipped, with what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from graders.languages import built_in
from sandbox.jail import Jail
from sandbox.model import Isolation, Limits, Outcome, OutcomeKind, SandboxUnavailable
from sandbox.program import Compiled, CompileFailed, Language, Programs, Step, shown

LANGUAGES = built_in()
SLACK_S = 3.0
"""What opening, compiling beside others and killing may take on a busy machine, besides the limit."""


@dataclass(frozen=True)
class Sources:
    """The same small programs in one language. "" where the language has no such thing."""

    add: str  # reads two numbers, prints their sum
    echo: str  # copies standard input to standard output
    wrong: str  # cannot be compiled
    said: bytes  # what is then said, among other things
    loop: str  # never ends
    memory: str  # takes memory until there is no more
    forks: str = ""  # starts processes (or threads) until there are no more, then waits for them for ever


C_FORKS = "#include <unistd.h>\nint main(void){ for(;;) if (fork() < 0) pause(); }"

SOURCES = {
    "c": Sources(
        '#include <stdio.h>\nint main(void){int a,b;scanf("%d %d",&a,&b);printf("%d\\n",a+b);return 0;}',
        "#include <stdio.h>\nint main(void){int c;while((c=getchar())!=EOF)putchar(c);return 0;}",
        "int main(void){return x;}",
        b"undeclared",
        "int main(void){volatile int i=0;for(;;)i++;}",
        "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;){char*p=malloc(1<<20);"
        "if(!p)abort();memset(p,1,1<<20);}}",
        C_FORKS,
    ),
    "cpp": Sources(
        "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b<<std::endl;}",
        "#include <iostream>\nint main(){std::cout<<std::cin.rdbuf();}",
        "int main(){return x;}",
        b"not declared",
        "int main(){volatile int i=0;for(;;)i=i+1;}",
        "#include <vector>\nint main(){std::vector<char> v;for(;;)v.resize(v.size()+(1<<20),1);}",
        C_FORKS,
    ),
    "java": Sources(
        "import java.util.*;\npublic class Main{public static void main(String[] x){"
        "Scanner s=new Scanner(System.in);System.out.println(s.nextInt()+s.nextInt());}}",
        "public class Main{public static void main(String[] x)throws Exception{"
        "System.in.transferTo(System.out);System.out.flush();}}",
        "public class Main{public static void main(String[] x){int i=y;}}",
        b"cannot find symbol",
        "public class Main{static volatile int i;public static void main(String[] x){for(;;)i++;}}",
        "import java.util.*;\npublic class Main{public static void main(String[] x){"
        "List<byte[]> l=new ArrayList<>();for(;;){byte[] b=new byte[1<<20];Arrays.fill(b,(byte)1);"
        "l.add(b);}}}",
        "public class Main{public static void main(String[] x)throws Exception{for(;;){"
        "Thread t=new Thread(()->{try{Thread.sleep(99999);}catch(Exception e){}});t.start();}}}",
    ),
    "javascript": Sources(
        "const [a,b]=require('fs').readFileSync(0,'utf8').split(' ').map(Number);console.log(a+b)",
        "process.stdout.write(require('fs').readFileSync(0))",
        "",
        b"",
        "for(;;){}",
        "const l=[];for(;;)l.push(Buffer.alloc(1<<20,1))",
        "const {spawn}=require('child_process');for(let i=0;i<500;i++)"
        "spawn('/usr/bin/node',['-e','for(;;){}']).on('error',()=>{});setInterval(()=>{},1000)",
    ),
    "rust": Sources(
        "use std::io::*;fn main(){let mut s=String::new();stdin().read_to_string(&mut s).unwrap();"
        'let v:i32=s.split_whitespace().map(|x|x.parse::<i32>().unwrap()).sum();println!("{}",v);}',
        "use std::io::*;fn main(){let mut v=Vec::new();stdin().read_to_end(&mut v).unwrap();"
        "stdout().write_all(&v).unwrap();}",
        "fn main(){let i:i32=x;}",
        b"cannot find value",
        "fn main(){let mut i=0u64;loop{i=unsafe{std::ptr::read_volatile(&i)}+1;}}",
        "fn main(){let mut v:Vec<Vec<u8>>=Vec::new();loop{v.push(vec![1;1<<20]);}}",
        "fn main(){let mut v=Vec::new();loop{match std::thread::Builder::new().spawn(||std::thread::park())"
        "{Ok(t)=>v.push(t),Err(_)=>std::thread::park()}}}",
    ),
    "bash": Sources(
        "read a b; echo $((a+b))",
        "cat",
        "",
        b"",
        "while :; do :; done",
        'while :; do printf -v x "%0200000000d" 1; y="$y$x"; done',
        "while :; do sleep 1000 & done 2>/dev/null",
    ),
    "python": Sources(
        "a,b=map(int,input().split());print(a+b)",
        "import sys;sys.stdout.buffer.write(sys.stdin.buffer.read())",
        "",
        b"",
        "while True: pass",
        "l=[]\nwhile True: l.append(bytearray(b'x')*(1<<20))",
        "import os,signal\nwhile True:\n    try: os.fork()\n    except OSError: signal.pause()",
    ),
}
TIGHT = {"cpu_s": 1.0, "wall_s": 5.0}


def missing(language: Language) -> str:
    """What of the language is not installed here, "" if nothing."""
    for name, step in (("compile", language.compile), ("run", language.run)):
        if step is None:
            continue
        try:
            shown(language.name, name, step)
        except SandboxUnavailable as error:
            return str(error)
    return ""


def slot(number: int) -> int:
    return 10_000 + number * 1000 + os.getpid() % 1000


@pytest.fixture(scope="module", params=LANGUAGES)
def programs(request: pytest.FixtureRequest) -> Iterator[Programs]:
    """The jails of each language in turn."""
    language = LANGUAGES[request.param]
    if reason := missing(language):
        pytest.skip(reason)
    with Programs(language, slot(list(LANGUAGES).index(language.name))) as opened:
        opened.open()
        yield opened


@pytest.fixture
def sources(programs: Programs) -> Sources:
    return SOURCES[programs.language.name]


def made(programs: Programs, text: str) -> Compiled:
    return programs.compile({programs.language.source: text.encode()})


def tight(programs: Programs, **more: float) -> Limits:
    return replace(programs.language.run.limits, **{**TIGHT, **more})  # type: ignore[arg-type]


def ran(programs: Programs, text: str, stdin: bytes = b"", **more: float) -> Outcome:
    """The outcome of a program, which has ended within its limit; afterwards an honest one still runs."""
    compiled = made(programs, text)
    limits = tight(programs, **more)
    started = time.monotonic()
    outcome = programs.run(compiled, stdin, limits)
    assert time.monotonic() - started < limits.wall_s + SLACK_S
    assert "seccomp" in outcome.isolation
    return outcome


def test_every_language_has_its_programs_here() -> None:
    assert SOURCES.keys() == LANGUAGES.keys()


def test_it_reads_and_prints(programs: Programs, sources: Sources) -> None:
    compiled = made(programs, sources.add)
    for one, other in ((2, 3), (-7, 7), (1000, 1)):
        outcome = programs.run(compiled, f"{one} {other}\n".encode())
        assert (outcome.kind, outcome.stdout) == (OutcomeKind.OK, f"{one + other}\n".encode())
        assert outcome.usage.cpu_s > 0


def test_half_a_megabyte_goes_in_and_comes_out(programs: Programs, sources: Sources) -> None:
    text = b"".join(b"line %d\n" % number for number in range(50_000))
    outcome = ran(programs, sources.echo, text)
    assert outcome.kind is OutcomeKind.OK
    assert outcome.stdout == text


def test_what_cannot_be_compiled_is_told_by_the_compiler(programs: Programs, sources: Sources) -> None:
    if programs.language.compile is None:
        outcome = ran(programs, "(((")
        assert (outcome.kind, outcome.exit_code is None) == (OutcomeKind.EXIT, False)
        assert outcome.stderr
        return
    with pytest.raises(CompileFailed) as caught:
        made(programs, sources.wrong)
    outcome = caught.value.outcome
    assert outcome.kind is OutcomeKind.EXIT
    assert sources.said in outcome.stdout + outcome.stderr
    assert programs.language.source.encode() in outcome.stdout + outcome.stderr


def test_an_endless_loop_ends(programs: Programs, sources: Sources) -> None:
    outcome = ran(programs, sources.loop)
    assert outcome.kind is OutcomeKind.CPU
    assert outcome.usage.cpu_s < TIGHT["cpu_s"] + 0.5


def test_memory_has_an_end(programs: Programs, sources: Sources) -> None:
    outcome = ran(programs, sources.memory, memory_mib=128, cpu_s=10.0, wall_s=30.0)
    said = any(sign.encode() in outcome.stderr for sign in programs.language.memory_signs)
    # Either the kernel says so, or the runtime, or the program that got none is at its end.
    assert (
        outcome.kind is OutcomeKind.MEMORY or said or outcome.kind in (OutcomeKind.SIGNAL, OutcomeKind.EXIT)
    )
    assert outcome.kind is not OutcomeKind.OK
    # The limit, the scratch, what a jail needs itself; and of a large runtime its own file, which is shared.
    assert outcome.usage.memory_bytes < (128 + 16 + 64 + 64) << 20
    after = ran(programs, sources.add, b"2 3\n")
    assert after.stdout == b"5\n"


def test_a_fork_bomb_goes_off_in_its_jail(programs: Programs, sources: Sources) -> None:
    processes = min(24, programs.language.run.limits.processes)
    outcome = ran(programs, sources.forks, processes=processes)
    assert outcome.kind is not OutcomeKind.OK
    after = ran(programs, sources.add, b"2 3\n")
    assert after.stdout == b"5\n"


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_runs_in_a_reduced_jail(name: str) -> None:
    language = replace(LANGUAGES[name], require=Isolation.REDUCED)
    if reason := missing(language):
        pytest.skip(reason)

    def reduced(step: str, jail: Jail) -> Jail:
        return Jail(jail.profile, jail.slot, jail.part, best=Isolation.REDUCED)

    with Programs(language, slot(24), watch=reduced) as programs:
        outcome = programs.run(made(programs, SOURCES[name].add), b"2 3\n")
        assert (outcome.kind, outcome.stdout) == (OutcomeKind.OK, b"5\n"), outcome.stderr
        assert "landlock" in " ".join(outcome.isolation)
        assert "mount" not in outcome.isolation
        loop = programs.run(made(programs, SOURCES[name].loop), limits=tight(programs))
        assert loop.kind is OutcomeKind.CPU


# --- compilers ---


@pytest.fixture(scope="module")
def c() -> Iterator[Programs]:
    yield from opened("c", 20)


@pytest.fixture(scope="module")
def cpp() -> Iterator[Programs]:
    yield from opened("cpp", 21)


def opened(name: str, number: int) -> Iterator[Programs]:
    if reason := missing(LANGUAGES[name]):
        pytest.skip(reason)
    with Programs(LANGUAGES[name], slot(number)) as programs:
        programs.open()
        yield programs


COMPILE = replace(built_in()["c"].compile or Step(()), command=()).limits
COMPILE_TIGHT = replace(COMPILE, cpu_s=2.0, wall_s=8.0)

C_BOMBS = {
    "includes itself": '#include "main.c"\n',
    "includes itself twice": '#include "main.c"\n#include "main.c"\n',
    "includes random numbers": '#include "/dev/urandom"\n',
    "includes random numbers by a link": '#include "/dev/random"\n',
    "includes zeros": '#include "/dev/zero"\n',
    "includes standard input": '#include "/dev/stdin"\n',
    "macros that double": "".join(f"#define A{n + 1} A{n} A{n}\n" for n in range(40)) + "#define A0 x\nA40\n",
    "a huge array": "char a[1ull << 40] = {1}; int main(void){return a[5];}\n",
    "an initialised gigabyte": "int a[1 << 28] = {1}; int main(void){return a[5];}\n",
    "huge errors": "int main(void){" + "x" * 50 + ";" * 200_000 + "\n" + "y();}\nz z z\n" * 20_000,
    "deep brackets": "int main(void){return " + "(" * 200_000 + "0" + ")" * 200_000 + ";}\n",
    "assembles for ever": 'int main(void){}\n__asm__(".rept 1000000000\\n.quad 1\\n.endr");\n',
    "includes binary": '__asm__(".incbin \\"/dev/zero\\"");int main(void){}\n',
}
CPP_BOMBS = {
    "templates without end": "template<int N> struct A { static const int v = A<N + 1>::v + A<N + 2>::v; };\n"
    "int main() { return A<0>::v; }\n",
    "templates that double": "template<class T, class U> struct P {};\n"
    "template<int N, class T> struct Q { typedef typename Q<N - 1, P<T, T>>::type type; };\n"
    "template<class T> struct Q<0, T> { typedef T type; };\n"
    "Q<800, int>::type x; void f(decltype(x)) {} int main() { f(x); }\n",
    "constants computed for ever": "constexpr long f(long n) { long s = 0; for (long i = 0; i < n; i++)"
    " for (long j = 0; j < n; j++) s += j; return s; }\n"
    "constexpr long v = f(100000); int main() { return v; }\n",
}


def bombed(programs: Programs, text: str) -> Outcome:
    """The outcome of compiling it; afterwards the same jail still compiles."""
    started = time.monotonic()
    try:
        compiled = programs.compile({programs.language.source: text.encode()}, limits=COMPILE_TIGHT)
        assert compiled.outcome is not None
        outcome = compiled.outcome
    except CompileFailed as failed:
        outcome = failed.outcome
    assert time.monotonic() - started < COMPILE_TIGHT.wall_s + SLACK_S
    assert len(outcome.stdout) + len(outcome.stderr) <= COMPILE.output_kib * 1024 + 1
    assert programs.compile({programs.language.source: b"int main(void){return 0;}"}).bundle.files
    return outcome


@pytest.mark.parametrize("text", C_BOMBS.values(), ids=C_BOMBS.keys())
def test_a_bomb_for_the_c_compiler_is_an_outcome(c: Programs, text: str) -> None:
    assert bombed(c, text).kind is not OutcomeKind.OK


@pytest.mark.parametrize("text", CPP_BOMBS.values(), ids=CPP_BOMBS.keys())
def test_a_bomb_for_the_cpp_compiler_is_an_outcome(cpp: Programs, text: str) -> None:
    bombed(cpp, text)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/proc/self/environ", "/var/lib/x"]
)
def test_a_compiler_quotes_no_file_of_the_host(c: Programs, path: str) -> None:
    """Errors quote what was included: the jail's own passwd names nobody but the learner."""
    outcome = bombed(c, f'#include "{path}"\nint main(void){{return 0;}}\n')
    assert outcome.kind is OutcomeKind.EXIT
    assert b"root" not in outcome.stderr.replace(path.encode(), b"")
    if path != "/etc/passwd":
        assert b"No such file" in outcome.stderr


def test_a_program_cannot_read_what_another_learner_sent(c: Programs) -> None:
    c.compile({"main.c": b"int main(void){return 0;} /* my secret solution */"})
    spy = c.compile(
        {
            "main.c": b"#include <stdio.h>\n#include <dirent.h>\nint main(void){for(int i=0;i<3;i++){"
            b'const char*p[]={"/course","/home/learner","/tmp"};DIR*d=opendir(p[i]);struct dirent*e;'
            b"while(d&&(e=readdir(d)))if(e->d_name[0]!='.')printf(\"%s/%s\\n\",p[i],e->d_name);}return 0;}"
        }
    )
    outcome = c.run(spy)
    assert outcome.stdout == b"/course/program\n"


# --- artefacts: what a hostile compile step may leave ---

TRICKS = {
    "nothing": ":",
    "a link to a file of the jail": "ln -s /etc/passwd program",
    "a link to a file of the host": "ln -s /etc/shadow program",
    "a link to the input": "ln -s /course/main.sh program",
    "a link that leads round": "ln -s program program",
    "a fifo": "mkfifo program",
    "a folder": "mkdir program",
    "a folder linked to another": "ln -s /etc sub; ln -s sub/passwd program",
    "a file nobody may read, in a closed folder": "mkdir sub; echo x > sub/program; chmod 0 sub",
    "more than may come back": "yes | head -c 9000000 > program",
    "a sparse terabyte": "truncate -s 1T program",
}


@pytest.fixture(scope="module")
def tricks() -> Iterator[Programs]:
    """A language whose compiler is a shell that does what the source says."""
    shell = LANGUAGES["bash"]
    if reason := missing(shell):
        pytest.skip(reason)
    step = replace(shell.run, limits=replace(COMPILE_TIGHT, report_kib=4096))
    language = Language("tricks", "main.sh", shell.run, step, ("program",), (".sh",))
    with Programs(language, slot(22)) as programs:
        programs.open()
        yield programs


@pytest.mark.parametrize("script", TRICKS.values(), ids=TRICKS.keys())
def test_what_is_no_plain_file_is_no_artefact(tricks: Programs, script: str) -> None:
    with pytest.raises(CompileFailed) as caught:
        tricks.compile({"main.sh": script.encode()})
    assert not b"".join(caught.value.outcome.files.values())
    good = tricks.compile({"main.sh": b"echo fine > program"})
    assert good.bundle.files == {"program": b"fine\n"}


def test_a_socket_is_no_artefact(tricks: Programs) -> None:
    script = b"/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"program\")'; exit 0"
    with pytest.raises(CompileFailed):
        tricks.compile({"main.sh": script})


def test_a_compiler_that_leaves_a_process_has_still_ended(tricks: Programs) -> None:
    """What it started is dead before the artefact is read, so it cannot be changed behind our back."""
    script = b"echo one > program; (sleep 1; echo two > program) & disown; exit 0"
    assert tricks.compile({"main.sh": script}).bundle.files == {"program": b"one\n"}


# --- running ---


def test_a_language_whose_program_is_not_in_the_jail_is_not_the_sources_fault() -> None:
    run = Step(("/usr/bin/no-such-interpreter", "{source}"))
    interpreted = Language("nowhere", "main.x", run)
    compiled = Language("nowhere", "main.x", run, run, ("program",))
    with (
        Programs(interpreted, slot(25)) as programs,
        pytest.raises(SandboxUnavailable, match="no-such"),
    ):
        programs.run(programs.compile({"main.x": b""}))
    with Programs(compiled, slot(25)) as programs, pytest.raises(SandboxUnavailable, match="nowhere"):
        programs.compile({"main.x": b""})


def test_what_a_compiler_left_may_be_no_program(tricks: Programs) -> None:
    made = tricks.compile({"main.sh": b"echo garbage > program"})
    language = replace(tricks.language, run=Step(("{bundle}/program",)))
    with Programs(language, slot(26)) as programs:
        outcome = programs.run(made)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.EXIT, None)


def test_limits_are_the_runs_own(c: Programs) -> None:
    compiled = c.compile({"main.c": b"int main(void){for(volatile long i=0;;i++);}"})
    limits = replace(c.language.run.limits, cpu_s=0.3)
    assert c.run(compiled, limits=limits).kind is OutcomeKind.CPU


def test_files_and_arguments_are_there_for_one_run(c: Programs) -> None:
    compiled = c.compile(
        {
            "main.c": b'#include <stdio.h>\nint main(int n,char**a){FILE*f=fopen(a[1],"r");'
            b'if(!f)return 3;int x;fscanf(f,"%d",&x);FILE*g=fopen("said.txt","w");'
            b'fprintf(g,"%d",x+1);return 0;}'
        }
    )
    first = c.run(compiled, arguments=("{bundle}/x",), files={"x": b"41"}, collect=("said.txt",))
    assert (first.kind, first.files) == (OutcomeKind.OK, {"said.txt": b"42"})
    second = c.run(compiled, arguments=("{bundle}/x",))
    assert second.exit_code == 3


TAKES_100_MIB = b"""
#include <stdlib.h>
#include <string.h>
int main(void) { char *p = malloc(100 << 20); if (!p) return 1; memset(p, 1, 100 << 20); return 0; }
"""


def test_large_inputs_take_nothing_from_the_memory_of_later_runs() -> None:
    language = LANGUAGES["c"]
    if reason := missing(language):
        pytest.skip(reason)
    with Programs(language, slot(23)) as programs:
        compiled = programs.compile({"main.c": TAKES_100_MIB})
        limits = replace(language.run.limits, memory_mib=128)
        for number in range(12):
            files = {"input": bytes([number]) * (10 << 20)}
            assert programs.run(compiled, limits=limits, files=files).kind is OutcomeKind.OK, number


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("int main(void){return 7;}", OutcomeKind.EXIT, 7),
        ("int main(void){int*p=0;*(volatile int*)p=1;}", OutcomeKind.SIGNAL, 11),
        ("#include <stdlib.h>\nint main(void){abort();}", OutcomeKind.SIGNAL, 6),
        (
            "int f(int n){volatile char a[4096];a[0]=n;return f(n+1)+a[0];}int main(void){return f(0);}",
            OutcomeKind.SIGNAL,
            11,
        ),
    ],
)
def test_how_it_ended(c: Programs, text: str, kind: OutcomeKind, value: int) -> None:
    outcome = c.run(c.compile({"main.c": text.encode()}))
    assert outcome.kind is kind
    assert (outcome.exit_code if kind is OutcomeKind.EXIT else outcome.signal) == value


def test_endless_output_ends(c: Programs) -> None:
    compiled = c.compile({"main.c": b'#include <stdio.h>\nint main(void){for(;;)puts("again");}'})
    outcome = c.run(compiled, limits=replace(c.language.run.limits, output_kib=64))
    assert (outcome.kind, outcome.truncated) == (OutcomeKind.OUTPUT, True)
    assert len(outcome.stdout) <= 64 * 1024 + 1


COPY_OF_ITSELF = """
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int count, char **words) {
    char block[65536];
    if (count > 1) { puts("executed"); return 0; }
    int from = open(words[0], O_RDONLY), to = open("copy", O_WRONLY | O_CREAT, 0755);
    for (ssize_t size; (size = read(from, block, sizeof block)) > 0;) write(to, block, size);
    close(to);
    execl("./copy", "./copy", "again", NULL);
    printf("%s;", strerror(errno));
    int kept = open("copy", O_RDONLY);
    char path[32];
    snprintf(path, sizeof path, "/dev/fd/%d", kept);
    execl(path, path, "again", NULL);
    execl("/lib64/ld-linux-x86-64.so.2", "ld.so", "./copy", "again", NULL);
    printf("%s;", strerror(errno));
    void *mapped = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, kept, 0);
    printf("%s", mapped == MAP_FAILED ? "no mapping" : "mapped");
    return 0;
}
"""


def test_a_program_executes_nothing_that_it_wrote_itself(c: Programs) -> None:
    outcome = ran(c, COPY_OF_ITSELF)
    told = (outcome.stdout + outcome.stderr).decode()
    assert "executed" not in told and "again" not in told, told
    # Either the loader cannot be executed, or it is, and may not map the file.
    assert "no mapping" in told or "cannot" in told or "failed to map" in told, told
