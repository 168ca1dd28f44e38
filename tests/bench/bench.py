"""What ./bench.sh runs: measures training on this machine, beside eager PyTorch, and prints it.

bench_peaks, bench_train, pytorch_eager.py and bench_ops take turns within a round, so that a change of
the machine's speed meets all of them. Ratios and shares of the peak are taken within a round; printed
are medians [least-most] over the rounds. Every single measurement is in OUTPUT/bench.csv.
"""

import argparse
import csv
import io
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import chart

HERE = Path(__file__).resolve().parent
OPERATOR_ROUNDS = 5  # of bench_ops in a round here

FLOAT32, BFLOAT16, PYTORCH = "pgmpi float32", "pgmpi bfloat16", "PyTorch eager"
KEPT_BYTES = str(2**40)  # mallopt(3): nothing smaller goes back to the system
PRECISIONS = {FLOAT32: "float32", BFLOAT16: "bfloat16"}


@dataclass
class Case:
    name: str
    model: str  # of configs/models
    batch: int
    length: int
    settings: list = field(default_factory=list)
    rival: str = ""  # a family of pytorch_eager.py
    ranks: int = 1  # ours, and threads of PyTorch
    beside: str = ""  # the case that it is compared with, on one rank or with whole parameters


NANO = ["model.vocab_size=65"]
GATE = ["gate.unit=paglu", "gate.form=anchored", "gate.alpha=0.5"]
# gpt-mini with an MLP u (a sigmoid(h) + (1 - a) gelu(h)): 291,328 parameters.
GATED = [*NANO, *GATE, "model.gated_mlp=true", "model.activation=gelu_tanh",
         "model.tied_embeddings=false", "model.dropout=0"]
GPT2 = ["model.dropout=0", "train.chunk=2"]  # two chunks, for two ranks
SMALL = ["model.d_model=256", "model.n_heads=4", "model.vocab_size=4096", "model.dropout=0"]
LLAMA = [*SMALL, "model.n_layers=4", "model.n_kv_heads=2", "model.d_ff=688"]
T5 = [*SMALL, "model.n_layers=3", "model.d_head=64", "model.d_ff=1024"]

CASES = [
    Case("nano-8x256", "nano", 8, 256, NANO, "nano"),
    Case("nano-64x256", "nano", 64, 256, NANO, "nano"),
    Case("nano-64x64", "nano", 64, 64, NANO, "nano"),
    Case("nano-64x256-2ranks", "nano", 64, 256, NANO, "", 2, "nano-64x256"),
    Case("nano-gated-64x256", "nano", 64, 256, [*NANO, *GATE, "model.d_ff=0"], "nano-gated"),
    Case("gpt-gated-8x256", "gpt-mini", 8, 256, GATED, "gpt-gated"),
    Case("gpt-gated-64x256", "gpt-mini", 64, 256, GATED, "gpt-gated"),
    Case("llama-8x256", "llama-1.5b", 8, 256, LLAMA, "llama"),
    Case("t5-8x256", "t5-large", 8, 256, T5, "t5"),
    Case("resnet-bk-8x128", "resnet-bk-d128-l4", 8, 128, ["model.dropout=0"]),
    Case("gpt2-4x256", "gpt2-small", 4, 256, GPT2, "gpt2-small"),
    Case("gpt2-4x256-2ranks", "gpt2-small", 4, 256, GPT2, "gpt2-small", 2, "gpt2-4x256"),
    Case("gpt2-4x256-2shards", "gpt2-small", 4, 256, [*GPT2, "shard.degree=0"], "gpt2-small", 2,
         "gpt2-4x256-2ranks"),
]


class Failure(Exception):
    """What was found; what to try."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(64, f"bench.sh: {message}\n  {self.format_usage()}")


def positive(kind):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"found '{text}', expected a positive number; try 3")
        return value

    return read


def read_arguments(words):
    parser = Parser(prog="bench.sh", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=positive(int), default=3, metavar="ROUNDS",
                        help="how often everything is measured (3)")
    parser.add_argument("seconds", nargs="?", type=positive(float), default=1, metavar="SECONDS",
                        help="of training in each measurement, whole steps, at least one (1)")
    parser.add_argument("--cases", metavar="A,B", default="",
                        help="those whose names begin so: " + " ".join(c.name for c in CASES))
    parser.add_argument("--build", type=Path, default=Path("build/release"), metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="the arguments, and measure nothing")
    arguments = parser.parse_args(words)
    wanted = arguments.cases.split(",") if arguments.cases else [""]
    for word in wanted:
        if not any(case.name.startswith(word) for case in CASES):
            parser.error(f"no case begins with '{word}'; there are "
                         + ", ".join(case.name for case in CASES))
    arguments.cases = [case for case in CASES if case.name.startswith(tuple(wanted))]
    return arguments


class Progress:
    """One live line on a terminal; in a log a line now and then."""

    LOG_INTERVAL_S = 30

    def __init__(self, plan):
        self.left = plan  # what is still to run, by what it is called
        self.took = {}
        self.live = sys.stderr.isatty()
        self.last = 0.0

    def starts(self, what):
        usual = statistics.mean(self.took.values()) if self.took else 5
        seconds = sum(self.took.get(name, usual) for name in self.left)
        now = time.monotonic()
        if self.live:
            print(f"\r\033[K{' '.join(what)}, about {self.in_words(seconds)} left", end="",
                  file=sys.stderr, flush=True)
        elif now - self.last > self.LOG_INTERVAL_S:
            self.last = now
            print(f"about {self.in_words(seconds)} left; now {' '.join(what)}", file=sys.stderr,
                  flush=True)

    def ended(self, what, seconds):
        self.took[what] = seconds
        if what in self.left:
            self.left.remove(what)

    def clear(self):
        if self.live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    @staticmethod
    def in_words(seconds):
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class Bench:
    """Runs the programs and keeps what they print."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.bin = arguments.build / "bin"
        self.rows = []  # (round, case, program, measure, value)
        self.core_types = ["SkylakeX", "Haswell"]  # of OpenBLAS: with AVX-512, without
        if "avx512f" not in Path("/proc/cpuinfo").read_text():
            self.core_types = ["Haswell"]
        self.best_core = {}  # by case
        plan = [("bench_peaks",), ("bench_ops",)] * arguments.rounds
        for case in arguments.cases:
            plan += [(case.name, program) for program in PRECISIONS] * arguments.rounds
            extra = 0 if case.beside else len(self.core_types) - 1  # to find the best one
            if case.rival:
                plan += [(case.name, PYTORCH)] * (arguments.rounds + extra)
        self.progress = Progress(plan)

    def output_of(self, what, command, extra=None):
        self.progress.starts(what)
        start = time.monotonic()
        command = [str(word) for word in command]
        try:
            done = subprocess.run(command, capture_output=True, text=True,
                                  env={**os.environ, **(extra or {})})
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}; try ./bench.sh, which builds it")
        if done.returncode != 0:
            raise Failure(f"{' '.join(command)} ended with {done.returncode}:\n"
                          + "\n".join(done.stderr.strip().splitlines()[-5:]))
        self.progress.ended(what, time.monotonic() - start)
        return done.stdout

    def keep(self, n, case, program, line):
        """Of a line of key=value; returns it as a dictionary."""
        try:
            found = dict(word.split("=", 1) for word in line.split())
        except ValueError:
            raise Failure(f"{case} {program} printed '{line.strip()}', expected key=value")
        self.rows += [(n, case, program, key, value) for key, value in found.items()]
        return found

    def run_ours(self, n, case, program):
        launch = ["mpirun", "--oversubscribe", "-n", case.ranks] if case.ranks > 1 else []
        line = self.output_of((case.name, program), [
            *launch, self.bin / "bench_train", case.model, case.batch, case.length,
            self.arguments.seconds, *case.settings, f"train.precision={PRECISIONS[program]}"])
        return self.keep(n, case.name, program, line)

    def run_pytorch(self, n, case, n_parameters):
        """The first round finds the fastest core type of the BLAS for the case. PyTorch keeps the
        memory that it frees, as bench_train does: where new pages are dear (virtual machines), it is
        up to eight times as fast with these settings."""
        def run(core):
            threads = str(case.ranks)
            line = self.output_of((case.name, PYTORCH), [
                sys.executable, HERE / "pytorch_eager.py", case.rival, case.batch, case.length,
                self.arguments.seconds, threads, n_parameters],
                {"OPENBLAS_CORETYPE": core, "OMP_NUM_THREADS": threads,
                 "OPENBLAS_NUM_THREADS": threads,
                 "MALLOC_TRIM_THRESHOLD_": KEPT_BYTES, "MALLOC_MMAP_THRESHOLD_": KEPT_BYTES})
            found = self.keep(n, case.name, f"{PYTORCH} ({core})", line)
            return float(found["tokens_per_s"])

        if case.beside in self.best_core:
            self.best_core[case.name] = self.best_core[case.beside]
        if case.name not in self.best_core:
            first = CASES.index(case) % len(self.core_types)
            rates = {core: run(core)
                     for core in self.core_types[first:] + self.core_types[:first]}
            self.best_core[case.name] = max(rates, key=rates.get)
        else:
            run(self.best_core[case.name])

    def run_case(self, n, case):
        programs = [*PRECISIONS, *([PYTORCH] if case.rival else [])]
        # PyTorch needs our number of parameters, so the first round starts with ours.
        for i in range(len(programs)):
            program = programs[(i + n) % len(programs)]
            if program == PYTORCH:
                self.run_pytorch(n, case, self.values(case.name, FLOAT32, "parameters", int)[0])
            else:
                self.run_ours(n, case, program)

    def run_round(self, n):
        self.keep(n, "machine", "bench_peaks",
                  self.output_of(("bench_peaks",), [self.bin / "bench_peaks"]))
        for case in self.arguments.cases:
            self.run_case(n, case)
        text = self.output_of(("bench_ops",), [self.bin / "bench_ops", "--csv", OPERATOR_ROUNDS])
        for row in csv.DictReader(io.StringIO(text)):
            name = row.pop("operator")
            self.rows += [(n, name, "bench_ops", key, value) for key, value in row.items()]

    def values(self, case, program, measure, kind=float):
        """One of each round."""
        if program == PYTORCH:
            program = f"{PYTORCH} ({self.best_core[case]})"
        found = [kind(row[4]) for row in self.rows if row[1:4] == (case, program, measure)]
        if not found:
            raise Failure(f"{program} printed no {measure} for {case}; do the programs in "
                          f"{self.bin} belong to this script? try ./bench.sh")
        return found

    def operators(self):
        names = [row[1] for row in self.rows if row[2] == "bench_ops"]
        return list(dict.fromkeys(names))

    def ratios(self, case, program, other_case, other):
        return [a / b for a, b in zip(self.values(case, program, "tokens_per_s"),
                                      self.values(other_case, other, "tokens_per_s"))]

    def shares_of_peak(self, case, program):
        """Model FLOPs over the multiply-adds that the cores could do in that round."""
        flops = self.values(case.name, FLOAT32, "flops_per_token")[0]
        return [rate * flops / (case.ranks * peak)
                for rate, peak in zip(self.values(case.name, program, "tokens_per_s"),
                                      self.values("machine", "bench_peaks", "multiply_add_flops"))]


def spread(values, form="{:,.0f}"):
    shown = [form.format(f(values)) for f in (statistics.median, min, max)]
    return "{} [{}-{}]".format(*shown)


def print_peaks(bench):
    def peak(measure):
        return spread([v / 1e9 for v in bench.values("machine", "bench_peaks", measure)], "{:.1f}")

    instructions = bench.values("machine", "bench_peaks", "instruction_set", str)[0]
    print(f"One core, the best of a few runs ({instructions}):")
    for name, measure, unit in (
            ("multiply-adds, float32", "multiply_add_flops", "GFLOP/s"),
            ("product of 1024 x 1024, float32", "linear_float32_flops", "GFLOP/s"),
            ("product of 1024 x 1024, bfloat16", "linear_bfloat16_flops", "GFLOP/s"),
            ("memory read", "read_bytes_per_s", "GB/s"),
            ("memory copied, read + written", "copy_bytes_per_s", "GB/s")):
        print(f"  {name:<34} {peak(measure):>24} {unit}")


def print_cases(bench):
    print("\nTraining (of peak: the model's own count of FLOPs over the multiply-add peak in float32):")
    print(f"  {'batch x length':<25} {'':<26} {'tokens/s':>24} {'of peak':>18}   "
          "ratio to PyTorch")
    bars = []
    for case in bench.arguments.cases:
        n = bench.values(case.name, FLOAT32, "parameters", int)[0]
        first = [case.name, f"  {n:,} parameters", f"  {case.ranks} ranks" if case.ranks > 1 else ""]
        for program in (*PRECISIONS, *([PYTORCH] if case.rival else [])):
            shown, ratio = program, ""
            if program == PYTORCH:
                shown = f"PyTorch ({bench.best_core[case.name]} BLAS)"
                first[0] = first[0].replace("ranks", "threads")
            elif case.rival:
                ratios = bench.ratios(case.name, program, case.name, PYTORCH)
                ratio = spread(ratios, "{:.2f}")
                bars.append((case.name, PRECISIONS[program], ratios))
            rates = spread(bench.values(case.name, program, "tokens_per_s"))
            share = spread(bench.shares_of_peak(case, program), "{:.2f}")
            print(f"  {first.pop(0):<25} {shown:<26} {rates:>24} {share:>18}   {ratio}".rstrip())
        if case.model.startswith("resnet-bk"):
            print(f"  {first.pop(0):<25} PyTorch: not measured, eager code would be a Python loop "
                  "over the sequence")
    return bars


def print_ranks(bench):
    names = [case.name for case in bench.arguments.cases]
    pairs = [case for case in bench.arguments.cases if case.beside in names]
    if pairs:
        print("\nTwo ranks against one, shared-out parameters against whole ones, the same batch:")
    for case in pairs:
        for program in PRECISIONS:
            ratios = bench.ratios(case.name, program, case.beside, program)
            print(f"  {case.name:<22} {program:<26} {spread(ratios, '{:.2f}')}")


def print_operators(bench):
    print("\nOperators, forward + backward, microseconds of processor time:")
    print(f"  {'':<32} {'pgmpi':>24} {'GFLOP/s':>8}   ratio")
    for name in bench.operators():
        ours = bench.values(name, "bench_ops", "us")
        others = bench.values(name, "bench_ops", "other_us")
        flops = bench.values(name, "bench_ops", "flops")[0]
        rate = f"{flops / statistics.median(ours) / 1e3:.0f}" if flops else ""
        ratio = spread([b / a for a, b in zip(ours, others)], "{:.1f}")
        rival = bench.values(name, "bench_ops", "other", str)[0]
        print(f"  {name:<32} {spread(ours):>24} {rate:>8}   {ratio} to {rival}")


def write_results(bench, bars, folder):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "bench.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "case", "program", "measure", "value"])
        writer.writerows(bench.rows)
    (folder / "bench.svg").write_text(chart.ratio_bars(
        "Training speed, pgmpi / eager PyTorch in float32", bars))
    print(f"\nEvery measurement is in {folder / 'bench.csv'}, the ratios are drawn in "
          f"{folder / 'bench.svg'}.")


def load():
    return "load average " + " ".join(f"{value:.1f}" for value in os.getloadavg())


def main(words):
    arguments = read_arguments(words)
    if arguments.check:
        return 0
    bench = Bench(arguments)
    print(f"{arguments.rounds} rounds, {arguments.seconds:g} s each, {len(arguments.cases)} cases, "
          f"{os.cpu_count()} processors; at the start {load()}", flush=True)
    start = time.monotonic()
    try:
        for n in range(arguments.rounds):
            bench.run_round(n)
        bench.progress.clear()
        print(f"at the end, {time.monotonic() - start:.0f} s later, {load()}; "
              "medians [least-most] of the rounds\n")
        print_peaks(bench)
        bars = print_cases(bench)
        print_ranks(bench)
        print_operators(bench)
        write_results(bench, bars, arguments.output)
    except Failure as failure:
        bench.progress.clear()
        print(f"bench.sh: {failure}", file=sys.stderr)
        return 70
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
