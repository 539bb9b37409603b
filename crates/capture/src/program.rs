//! Program name of a process: that of its executable or, for interpreters and launchers, that of the script or program they
//! run.
//!
//! A command line is a text with spaces between its arguments, so an argument with a space in it counts as two. Of a long one,
//! only the first and the last bytes are available, with [`CUT`] between them.

use crate::system::Identity;

/// Mark in a command line for its omitted middle.
pub const CUT: &str = "…";

/// Maximum nesting of launchers that run launchers.
const MOST_LAUNCHERS: usize = 4;

/// Rule that finds, in the arguments of a program, what it runs.
enum Runs {
    /// Class, JAR or module.
    Class,
    /// Script, by the interpreter's options.
    Script(&'static Interpreter),
    /// Another program. Options that take the next argument.
    Program(&'static [&'static str]),
    /// One of the programs built into the executable, by the name under which it was called.
    Itself,
    /// Module after `-s`, as in Erlang's runtime.
    Erlang,
}

/// Options of an interpreter. Those of one letter may be combined, and have their value attached.
struct Interpreter {
    /// Options that take a program text: there is no script.
    texts: &'static [&'static str],
    /// Options that take the module or script to run.
    runs: &'static [&'static str],
    /// Options with any other value.
    values: &'static [&'static str],
    /// Words before the script.
    verbs: &'static [&'static str],
}

const PYTHON: Interpreter =
    Interpreter { texts: &["-c"], runs: &["-m"], values: &["-W", "-X", "--check-hash-based-pycs"], verbs: &[] };
const PERL: Interpreter = Interpreter { texts: &["-e", "-E"], runs: &[], values: &["-I", "-M"], verbs: &[] };
const RUBY: Interpreter =
    Interpreter { texts: &["-e"], runs: &[], values: &["-I", "-r", "-C", "-E", "-F"], verbs: &[] };
const NODE: Interpreter = Interpreter {
    texts: &["-e", "-p", "--eval", "--print"],
    runs: &[],
    values: &["-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"],
    verbs: &["run"],
};
const PHP: Interpreter =
    Interpreter { texts: &["-r", "-S"], runs: &["-f"], values: &["-c", "-d", "-z", "-t"], verbs: &[] };
const SHELL: Interpreter = Interpreter { texts: &["-c", "-s"], runs: &[], values: &["-o", "-O"], verbs: &[] };
const LUA: Interpreter = Interpreter { texts: &["-e"], runs: &[], values: &["-l"], verbs: &[] };
const DOTNET: Interpreter = Interpreter {
    texts: &[],
    runs: &[],
    values: &["--additionalprobingpath", "--depsfile", "--runtimeconfig", "--fx-version", "--roll-forward"],
    verbs: &["exec"],
};
const R: Interpreter = Interpreter { texts: &["-e"], runs: &["--file"], values: &["-f"], verbs: &[] };
const PLAIN: Interpreter = Interpreter { texts: &["-e"], runs: &[], values: &[], verbs: &[] };

/// Options of `java` that take the next argument as value (`java --help`, `-X`, `--help-extra`).
const JAVA_VALUES: [&str; 15] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--limit-modules",
    "--add-exports",
    "--add-opens",
    "--add-reads",
    "--patch-module",
    "--enable-native-access",
    "--illegal-native-access",
    "--source",
];

const LOADER_VALUES: [&str; 6] =
    ["--library-path", "--argv0", "--preload", "--audit", "--inhibit-rpath", "--glibc-hwcaps-prepend"];
const EMULATOR_VALUES: [&str; 8] = ["-L", "-E", "-U", "-0", "-cpu", "-s", "-B", "-R"];

fn runs(program: &str) -> Option<Runs> {
    // python3.11, perl5.36.0, lua5.4
    let family = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    Some(match family {
        "java" => Runs::Class,
        "python" | "pypy" => Runs::Script(&PYTHON),
        "perl" => Runs::Script(&PERL),
        "ruby" | "jruby" | "truffleruby" => Runs::Script(&RUBY),
        "node" | "nodejs" | "bun" | "deno" => Runs::Script(&NODE),
        "php" => Runs::Script(&PHP),
        "sh" | "bash" | "dash" | "ash" | "ksh" | "mksh" | "zsh" | "fish" => Runs::Script(&SHELL),
        "lua" | "luajit" => Runs::Script(&LUA),
        "dotnet" | "mono" | "mono-sgen" => Runs::Script(&DOTNET),
        "R" | "Rscript" => Runs::Script(&R),
        "tclsh" | "wish" | "guile" | "julia" | "escript" => Runs::Script(&PLAIN),
        "beam.smp" => Runs::Erlang,
        "busybox" | "toybox" | "coreutils" => Runs::Itself,
        _ if is_loader(program) => Runs::Program(&LOADER_VALUES),
        _ if is_emulator(program) => Runs::Program(&EMULATOR_VALUES),
        _ => return None,
    })
}

/// ld-linux-x86-64.so.2, ld-musl-x86_64.so.1, ld-2.31.so
fn is_loader(program: &str) -> bool {
    program.starts_with("ld-") && program.contains(".so")
        || program.starts_with("ld.so")
        || program.starts_with("ld64.so")
}

/// qemu-aarch64, qemu-arm-static, but not the emulators of whole machines and the image tools.
fn is_emulator(program: &str) -> bool {
    const TOOLS: [&str; 6] = ["system-", "img", "nbd", "io", "ga", "storage-"];
    program.strip_prefix("qemu-").is_some_and(|of| !TOOLS.iter().any(|tool| of.starts_with(tool)))
}

/// Returns the last component of a path.
fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Returns the program name of a process.
pub fn name(process: &Identity) -> String {
    let comm = process.comm.unwrap_or("unknown");
    if process.kernel_thread {
        // Kernel threads are named by kind only, so that `kworker/u8:3` and `kworker/0:1` are one.
        return match comm.split_once('/') {
            Some((kind, _)) if !kind.is_empty() => kind.to_owned(),
            _ => comm.to_owned(),
        };
    }
    let Some(program) = process.exe.map(executable).filter(|program| !program.is_empty()) else {
        return comm.to_owned();
    };
    let arguments: Vec<&str> = process.cmdline.unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
    called(program, &arguments).to_owned()
}

/// Returns the name of an executable. One in memory only is called `memfd:NAME`, with any characters in the name.
fn executable(path: &str) -> &str {
    match path.trim_start_matches('/').strip_prefix("memfd:") {
        Some(name) => name.split(['/', ':']).next().unwrap_or_default(),
        None => basename(path),
    }
}

/// Returns the name of `program`, called with these `arguments`; the first argument is its own name.
fn called<'a>(mut program: &'a str, mut arguments: &'a [&'a str]) -> &'a str {
    for _ in 0..MOST_LAUNCHERS {
        let rest = arguments.get(1..).unwrap_or_default();
        let found = match runs(program) {
            None => None,
            Some(Runs::Class) => return class(rest).unwrap_or(program),
            Some(Runs::Script(interpreter)) => return script(interpreter, rest).unwrap_or(program),
            Some(Runs::Erlang) => return after(rest, "-s").unwrap_or(program),
            Some(Runs::Program(values)) => first(rest, values).map(|place| &rest[place..]),
            Some(Runs::Itself) => match arguments.first().map(|own| basename(own)) {
                Some(own) if own != program => Some(arguments),
                _ => Some(rest),
            },
        };
        match found.and_then(|found| Some((basename(found.first()?), found))) {
            Some((name, found)) if !name.is_empty() && !name.starts_with('-') => (program, arguments) = (name, found),
            _ => return program,
        }
    }
    program
}

/// Returns the index of the first of `arguments` that is neither an option nor the value of one.
fn first(arguments: &[&str], values: &[&str]) -> Option<usize> {
    let mut place = 0;
    while let Some(word) = arguments.get(place) {
        if values.contains(word) {
            place += 1;
        } else if *word == CUT {
            // The next word is the end of a truncated one.
            place += 1;
        } else if !word.starts_with('-') {
            return Some(place);
        }
        place += 1;
    }
    None
}

/// Returns the argument after `option`.
fn after<'a>(arguments: &[&'a str], option: &str) -> Option<&'a str> {
    let place = arguments.iter().position(|word| *word == option)?;
    arguments.get(place + 1).copied().filter(|word| *word != CUT)
}

/// Returns the class, JAR or module that a JVM runs: a JAR by its name, a module by its class. Arguments after it are not the
/// JVM's.
fn class<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let mut words = arguments.iter().copied();
    let found = loop {
        let word = words.next()?;
        if word == CUT || (JAVA_VALUES.contains(&word) && words.next() == Some(CUT)) {
            // The next word is the end of a truncated one.
            words.next();
        } else if JAVA_VALUES.contains(&word) {
            // Skips the value.
        } else if ["-jar", "-m", "--module"].contains(&word) {
            break words.next()?;
        } else if let Some(module) = word.strip_prefix("--module=") {
            break module;
        } else if !word.starts_with('-') {
            break word;
        }
    };
    Some(basename(found)).filter(|name| !name.is_empty() && *name != CUT && !name.starts_with('@'))
}

/// Returns the script or module that an interpreter runs.
fn script<'a>(interpreter: &Interpreter, arguments: &[&'a str]) -> Option<&'a str> {
    let mut words = arguments.iter().copied();
    while let Some(word) = words.next() {
        if word == CUT {
            words.next();
        } else if word == "-" {
            return None;
        } else if word == "--" {
            return words.next().and_then(script_name);
        } else if let Some(option) = word.strip_prefix("--") {
            let (name, value) =
                option.split_once('=').map_or((word, None), |(name, value)| (&word[..name.len() + 2], Some(value)));
            if interpreter.texts.contains(&name) {
                return None;
            }
            if interpreter.runs.contains(&name) {
                return value.or_else(|| words.next()).and_then(script_name);
            }
            if interpreter.values.contains(&name) && value.is_none() {
                words.next();
            }
        } else if word.starts_with('-') {
            match letters(interpreter, word) {
                Letters::Text => return None,
                Letters::Runs(attached) => return attached.or_else(|| words.next()).and_then(script_name),
                Letters::Value => drop(words.next()),
                Letters::Nothing => {}
            }
        } else if !word.starts_with('+') && !interpreter.verbs.contains(&word) {
            return script_name(word);
        }
    }
    None
}

/// Meaning of a word of combined one-letter options.
enum Letters<'a> {
    Text,
    Runs(Option<&'a str>),
    /// The next argument is a value.
    Value,
    Nothing,
}

fn letters<'a>(interpreter: &Interpreter, word: &'a str) -> Letters<'a> {
    for (place, letter) in word.char_indices().skip(1) {
        let is = |options: &[&str]| {
            options.iter().any(|option| option.strip_prefix('-') == Some(letter.encode_utf8(&mut [0; 4])))
        };
        let attached = Some(&word[place + letter.len_utf8()..]).filter(|rest| !rest.is_empty());
        if is(interpreter.texts) {
            return Letters::Text;
        }
        if is(interpreter.runs) {
            return Letters::Runs(attached);
        }
        if is(interpreter.values) {
            return if attached.is_some() { Letters::Nothing } else { Letters::Value };
        }
    }
    Letters::Nothing
}

/// Returns the name of a script; for a package run as a script, the package name.
fn script_name(path: &str) -> Option<&str> {
    let name = match path.strip_suffix("/__main__.py") {
        Some(package) => basename(package),
        None => basename(path),
    };
    Some(name).filter(|name| !name.is_empty() && *name != CUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(exe: &str, cmdline: &str) -> String {
        name(&Identity { exe: Some(exe), cmdline: Some(cmdline), comm: Some("any-thread"), ..Identity::default() })
    }

    #[test]
    fn a_program_is_called_as_its_executable() {
        assert_eq!(of("/usr/bin/weed", "weed server -dir=/data"), "weed");
        assert_eq!(of("bin/cut-in-front", ""), "cut-in-front");
        assert_eq!(of("/memfd:runc_cloned:/proc/self/exe", "runc init"), "runc_cloned");
        let comm = Identity { comm: Some("tool"), cmdline: Some("x y"), ..Identity::default() };
        assert_eq!((name(&comm), name(&Identity::default())), ("tool".into(), "unknown".into()));
    }

    #[test]
    fn a_jvm_is_called_as_what_it_runs() {
        for (cmdline, expected) in [
            (
                "java -Xmx1G -server -cp /opt/kafka/libs/a.jar:/opt/b.jar -Dx=y kafka.Kafka /etc/server.properties",
                "kafka.Kafka",
            ),
            (
                "java -Xmx1G -cp /opt/kafka/libs/a.jar:/opt/kaf … ibs/z.jar kafka.Kafka /etc/server.properties",
                "kafka.Kafka",
            ),
            ("/usr/bin/java -Djetty=1 -jar /opt/solr/start.jar --module=http", "start.jar"),
            (
                "java --module-path /usr/share/es/lib --add-modules=jdk.net -m org.es.server/org.es.bootstrap.Elasticsearch",
                "org.es.bootstrap.Elasticsearch",
            ),
            ("java --module=a.b/c.Main", "c.Main"),
            ("java -cp … ibs/z.jar kafka.Kafka", "kafka.Kafka"),
            ("java @args.txt", "java"),
            ("java -version", "java"),
            ("java -cp", "java"),
            ("", "java"),
        ] {
            assert_eq!(of("/usr/lib/jvm/17/bin/java", cmdline), expected, "{cmdline}");
        }
    }

    #[test]
    fn an_interpreter_is_called_as_its_script_or_module() {
        for (exe, cmdline, expected) in [
            ("/usr/bin/python3.13", "python3 -u /srv/ingest.py --all", "ingest.py"),
            ("/usr/bin/python3.13", "/usr/bin/python3 /usr/bin/gunicorn app:app", "gunicorn"),
            ("/usr/bin/python3.13", "python3 -m http.server 8000", "http.server"),
            ("/usr/bin/python3.13", "python3 -W ignore -um celery worker", "celery"),
            ("/usr/bin/python3.13", "python3 -c import os", "python3.13"),
            ("/usr/bin/python3.13", "python3 -Ic import os", "python3.13"),
            ("/usr/bin/python3.13", "python3", "python3.13"),
            ("/usr/bin/python3.13", "python3 /srv/app/__main__.py", "app"),
            ("/usr/bin/python3.13", "python3 -", "python3.13"),
            ("/usr/bin/perl", "perl -w -I lib /usr/bin/backup.pl", "backup.pl"),
            ("/usr/bin/perl", "perl -ne print", "perl"),
            ("/usr/bin/node", "node --max-old-space-size=4096 -r dotenv/config /srv/server.js", "server.js"),
            ("/usr/bin/node", "node --eval=1", "node"),
            ("/usr/bin/bash", "bash -e -o pipefail /opt/kafka/bin/kafka-run.sh start", "kafka-run.sh"),
            ("/usr/bin/dash", "sh -c exec a b", "dash"),
            ("/usr/bin/dash", "sh -ec exec a b", "dash"),
            ("/usr/bin/php8.2", "php -d x=y -f /srv/cron.php", "cron.php"),
            ("/usr/sbin/php-fpm8.2", "php-fpm: master process", "php-fpm8.2"),
            ("/usr/lib/R/bin/exec/R", "R --no-echo --file=/srv/fit.R", "fit.R"),
            ("/usr/bin/dotnet", "dotnet exec --depsfile a.json /srv/app.dll", "app.dll"),
            ("/usr/lib/erlang/bin/beam.smp", "beam.smp -W w -- -root /usr -s rabbit boot", "rabbit"),
            ("/usr/bin/deno", "deno run -A /srv/main.ts", "main.ts"),
        ] {
            assert_eq!(of(exe, cmdline), expected, "{cmdline}");
        }
    }

    #[test]
    fn a_launcher_is_called_as_what_it_launches() {
        for (exe, cmdline, expected) in [
            ("/usr/lib/ld-linux-x86-64.so.2", "ld.so --library-path /lib /opt/db/bin/server -d", "server"),
            ("/usr/lib/ld-linux-x86-64.so.2", "ld.so /usr/bin/python3 /srv/ingest.py", "ingest.py"),
            ("/usr/lib/ld-linux-x86-64.so.2", "ld.so --list", "ld-linux-x86-64.so.2"),
            ("/usr/bin/qemu-aarch64-static", "/usr/bin/qemu-aarch64-static -L /arm /bin/dd if=a", "dd"),
            ("/usr/bin/qemu-system-x86_64", "qemu-system-x86_64 -m 1G disk.img", "qemu-system-x86_64"),
            ("/bin/busybox", "dd if=/dev/zero", "dd"),
            ("/bin/busybox", "/bin/busybox dd if=/dev/zero", "dd"),
            ("/bin/busybox", "busybox sh /etc/init.sh", "init.sh"),
            ("/bin/busybox", "busybox", "busybox"),
            ("/usr/bin/coreutils", "/usr/bin/cp a b", "cp"),
        ] {
            assert_eq!(of(exe, cmdline), expected, "{cmdline}");
        }
    }

    #[test]
    fn a_command_line_that_is_hashed_tells_nothing() {
        assert_eq!(of("/usr/bin/java", "0f3a5b7c9d1e2f34"), "java");
        assert_eq!(of("/usr/bin/python3.13", "0f3a5b7c9d1e2f34"), "python3.13");
    }

    #[test]
    fn kernel_threads_are_called_by_kind() {
        let mut kworker = Identity { comm: Some("kworker/u4:1"), kernel_thread: true, ..Identity::default() };
        assert_eq!(name(&kworker), "kworker");
        kworker.kernel_thread = false;
        assert_eq!(name(&kworker), "kworker/u4:1");
    }
}
