"""Compares what others make of a request with what the registry says; see `real`.

Arguments: the program that makes requests, a directory to work in, and VictoriaMetrics or nothing.
"""

import http.server
import importlib.util
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from datetime import datetime, timezone

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

KINDS = [
    "invalid_args", "not_found", "permission_denied", "rate_limited", "timeout",
    "tool_error", "provider", "network", "panic", "other",
]
OUTCOMES = ["success", "failure", "cancelled"]
compared = 0


def same(what, found, expected):
    global compared
    compared += 1
    if found != expected:
        sys.exit(f"WRONG: {what}: {found}, not {expected}")


def nanos(text):
    """A time as RFC 3339 tells it, in nanoseconds since 1970."""
    match = re.fullmatch(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.(\d+))?Z", text)
    seconds = datetime.fromisoformat(match[1]).replace(tzinfo=timezone.utc).timestamp()
    return int(seconds) * 10**9 + int((match[2] or "0").ljust(9, "0"))


def bounds(precision, index):
    """The least and the greatest latency of one of toolmeter's buckets, in nanoseconds."""
    shift = max((index >> precision) - 1, 0)
    least = (index - (shift << precision)) << shift
    return least, least + (1 << shift) - 1


class Latency:
    """What the registry says of the calls of one tool and one outcome."""

    def __init__(self, json):
        self.precision = json["precision"]
        self.sum = json["sum_ns"] / 1e9
        self.buckets = [(*bounds(self.precision, index), n) for index, n in json["buckets"]]
        self.count = sum(n for _, _, n in self.buckets)

    def at_most(self, seconds):
        return sum(n for _, greatest, n in self.buckets if greatest / 1e9 <= seconds)

    def ranked(self, q):
        """The bucket of the call that a share `q` does not exceed."""
        rank, seen = max(1, math.ceil(q * self.count)), 0
        for least, greatest, n in self.buckets:
            seen += n
            if seen >= rank:
                return least, greatest


class Totals:
    def __init__(self, path):
        with open(path) as file:
            totals = json.load(file)
        self.started_at, self.taken_at = nanos(totals["started_at"]), nanos(totals["taken_at"])
        self.tools = totals["tools"]

    def calls(self):
        """The calls by tool, outcome and kind, all of them."""
        for name, tool in self.tools.items():
            yield (name, "success", ""), tool["success"]
            for kind in KINDS:
                shown = "_OTHER" if kind == "other" else kind
                yield (name, "failure", shown), tool["failures_by_kind"].get(kind, 0)
            for outcome in ["cancelled", "rejected"]:
                yield (name, outcome, outcome), tool[outcome]

    def latencies(self):
        for name, tool in self.tools.items():
            for outcome in OUTCOMES:
                yield (name, outcome), Latency(tool["latency_ms"][outcome])


def labels(point):
    return {attribute.key: attribute.value.string_value for attribute in point.attributes}


def only(items):
    [item] = items
    return item


def metrics(request):
    return {metric.name: metric for metric in only(only(request.resource_metrics).scope_metrics).metrics}


def check_times(totals, name, point):
    same(f"start of {name}", point.start_time_unix_nano, nanos(totals.tools[name]["registered_at"]))
    same(f"time of {name}", point.time_unix_nano, totals.taken_at)


def check_sums(totals, request):
    metric = metrics(request)["toolmeter.calls"].sum
    same("temporality", metric.aggregation_temporality, AGGREGATION_TEMPORALITY_CUMULATIVE)
    same("calls only grow", metric.is_monotonic, True)
    found = {}
    for point in metric.data_points:
        of = labels(point)
        key = (of["gen_ai.tool.name"], of["toolmeter.outcome"], of.get("error.type", ""))
        found[key] = point.as_int
        check_times(totals, key[0], point)
    for key, count in totals.calls():
        same(f"calls {key}", found.get(key, 0), count)
    for name, field in [("retried", "retried"), ("recovered", "recovered"), ("in_flight", "in_flight")]:
        points = metrics(request)[f"toolmeter.{name}"].sum.data_points
        found = {labels(point)["gen_ai.tool.name"]: point.as_int for point in points}
        same(name, found, {tool: stats[field] for tool, stats in totals.tools.items()})
    unknown = only(metrics(request)["toolmeter.unknown_calls"].sum.data_points)
    same("start of the registry", unknown.start_time_unix_nano, totals.started_at)


def check_explicit(totals, request):
    check_sums(totals, request)
    histogram = metrics(request)["toolmeter.call.duration"].histogram
    same("temporality", histogram.aggregation_temporality, AGGREGATION_TEMPORALITY_CUMULATIVE)
    points = {}
    for point in histogram.data_points:
        of = labels(point)
        points[of["gen_ai.tool.name"], of["toolmeter.outcome"]] = point
    for key, latency in totals.latencies():
        point = points[key]
        check_times(totals, key[0], point)
        same(f"count {key}", point.count, latency.count)
        same(f"sum {key}", point.sum, latency.sum)
        same(f"buckets {key}", sum(point.bucket_counts), point.count)
        seen = 0
        for bound, count in zip(point.explicit_bounds, point.bucket_counts):
            seen += count
            same(f"{key} at {bound}", seen, latency.at_most(bound))


def check_exponential(totals, request):
    check_sums(totals, request)
    histogram = metrics(request)["toolmeter.call.duration"].exponential_histogram
    same("temporality", histogram.aggregation_temporality, AGGREGATION_TEMPORALITY_CUMULATIVE)
    points = {}
    for point in histogram.data_points:
        of = labels(point)
        points[of["gen_ai.tool.name"], of["toolmeter.outcome"]] = point
    scales = {}
    for key, latency in totals.latencies():
        point = points.get(key)
        if point is None:
            same(f"no point {key}", latency.count, 0)
            continue
        check_times(totals, key[0], point)
        same(f"sum {key}", point.sum, latency.sum)
        expected, zero = {}, 0
        log_base = 2.0**-point.scale
        error = (1 + 2.0 ** -(latency.precision + 1)) * 2**log_base * (1 + 1e-12)
        for least, greatest, n in latency.buckets:
            if greatest == 0:
                zero += n
                continue
            index = math.ceil(math.log2((least + greatest) / 2e9) / log_base) - 1
            expected[index] = expected.get(index, 0) + n
            above, upto = (2 ** (i * log_base) * 1e9 for i in (index, index + 1))
            same(f"{key} {least} ns is within the error", upto <= least * error, True)
            same(f"{key} {greatest} ns is within the error", above >= greatest / error, True)
        found = {
            point.positive.offset + i: n for i, n in enumerate(point.positive.bucket_counts) if n
        }
        same(f"buckets {key}", found, expected)
        same(f"at most 160 buckets {key}", len(point.positive.bucket_counts) <= 160, True)
        same(f"zero {key}", (point.zero_count, point.zero_threshold), (zero, 0))
        same(f"count {key}", point.count, zero + sum(found.values()))
        scales[key] = point.scale
    return scales


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """A program that is stopped at the end."""

    def __init__(self, directory, *command):
        self.log = open(os.path.join(directory, os.path.basename(command[0]) + ".log"), "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def listens(self, port):
        for _ in range(300):
            if self.process.poll() is not None:
                sys.exit(f"WRONG: {self.process.args[0]} ended; see {self.log.name}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"WRONG: {self.process.args[0]} does not listen; see {self.log.name}")


def send(wire, url):
    subprocess.run([wire, "--write", os.getcwd(), "--send", url], check=True)


def check_victoria(wire, directory, victoria):
    port = free_port()
    storage = os.path.join(directory, "storage")
    shutil.rmtree(storage, ignore_errors=True)
    command = [
        victoria, "-storageDataPath", storage, "-httpListenAddr", f"127.0.0.1:{port}",
        "-opentelemetry.usePrometheusNaming",
    ]
    with Running(directory, *command) as running:
        running.listens(port)
        address = f"http://127.0.0.1:{port}"
        send(wire, f"{address}/opentelemetry/v1/metrics")
        urllib.request.urlopen(f"{address}/internal/force_flush").read()
        totals = Totals("totals.json")

        def query(promql):
            at = totals.taken_at / 1e9
            arguments = urllib.parse.urlencode({"query": promql, "time": f"{at:.3f}"})
            with urllib.request.urlopen(f"{address}/api/v1/query?{arguments}") as answer:
                result = json.load(answer)["data"]["result"]
            return [(series["metric"], float(series["value"][1])) for series in result]

        def of(labels):
            return labels["gen_ai_tool_name"], labels["toolmeter_outcome"]

        for service in ["explicit", "exponential"]:
            found = {
                (*of(labels), labels.get("error_type", "")): count
                for labels, count in query(f'toolmeter_calls_total{{service_name="{service}"}}')
            }
            for key, count in totals.calls():
                same(f"VictoriaMetrics, {service}, calls {key}", found.get(key, 0), count)
            name = "toolmeter_call_duration_seconds"
            for part in ["count", "sum"]:
                series = query(f'{name}_{part}{{service_name="{service}"}}')
                found = {of(labels): number for labels, number in series}
                for key, latency in totals.latencies():
                    number = getattr(latency, part)
                    # The sum is stored in fewer digits.
                    close = math.isclose(found.get(key, 0), number, rel_tol=1e-9)
                    same(f"VictoriaMetrics, {service}, {part} {key}", close, True)
        found = {
            (*of(labels), labels["le"]): count
            for labels, count in query(f'{name}_bucket{{service_name="explicit",le!="+Inf"}}')
        }
        latencies = dict(totals.latencies())
        same("VictoriaMetrics, some buckets", len(found) > 100, True)
        for (tool, outcome, le), count in found.items():
            expected = latencies[tool, outcome].at_most(float(le))
            same(f"VictoriaMetrics, {tool}, {outcome}, at {le}", count, expected)
        with open("exponential.bin", "rb") as file:
            scales = check_exponential(totals, ExportMetricsServiceRequest.FromString(file.read()))
        for q in [0.5, 0.9, 0.99]:
            series = query(
                f'histogram_quantile({q}, {name}_bucket{{service_name="exponential",'
                f'gen_ai_tool_name!="edges"}})'
            )
            same("VictoriaMetrics, some quantiles", len(series) > 5, True)
            for labels, seconds in series:
                key = of(labels)
                least, greatest = latencies[key].ranked(q)
                # It stores the bounds of buckets in four digits.
                wide = 2 ** (2.0 ** -scales[key]) * 1.001
                within = least / wide <= seconds * 1e9 <= greatest * wide
                same(f"VictoriaMetrics, {key}, quantile {q}: {seconds}", within, True)


def points(requests):
    """All data points, by what tells them apart."""
    found = {}
    for request in requests:
        for resource in request.resource_metrics:
            of = tuple(sorted(labels(resource.resource).items()))
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    for point in data.data_points:
                        key = (
                            of, scope.scope.name, metric.name, metric.unit,
                            tuple(sorted(labels(point).items())),
                        )
                        copy = type(point)()
                        copy.CopyFrom(point)
                        del copy.attributes[:]
                        found[key] = copy.SerializeToString(deterministic=True)
    return found


def check_rotel(wire, directory, rotel):
    received = []

    class Capture(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            received.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Capture)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    command = [
        rotel, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "otlp",
        "--otlp-exporter-endpoint", f"http://127.0.0.1:{server.server_port}",
        "--otlp-exporter-protocol", "http",
    ]
    with Running(directory, *command) as running:
        running.listens(port)
        send(wire, f"http://127.0.0.1:{port}/v1/metrics")
        sent = []
        for name in ["explicit", "exponential"]:
            with open(f"{name}.bin", "rb") as file:
                sent.append(ExportMetricsServiceRequest.FromString(file.read()))
        expected = points(sent)
        for _ in range(300):
            if len(points(received)) >= len(expected):
                break
            time.sleep(0.1)
    found = points(received)
    same("rotel, number of points", len(found), len(expected))
    for key, point in expected.items():
        same(f"rotel, {key}", found.get(key), point)


def main():
    wire, directory, victoria = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
    work = os.path.join(directory, "work")
    os.makedirs(work, exist_ok=True)
    os.chdir(work)
    subprocess.run([wire, "--write", work], check=True)
    totals = Totals("totals.json")
    for name, check in [("explicit", check_explicit), ("exponential", check_exponential)]:
        with open(f"{name}.bin", "rb") as file:
            check(totals, ExportMetricsServiceRequest.FromString(file.read()))
    print(f"ok: decoded by Python's opentelemetry-proto, {compared} comparisons")
    rotel = importlib.util.find_spec("rotel")
    checks = []
    if victoria:
        checks.append(("VictoriaMetrics", lambda: check_victoria(wire, work, victoria)))
    if rotel:
        agent = os.path.join(os.path.dirname(rotel.origin), "rotel-agent")
        checks.append(("the collector rotel", lambda: check_rotel(wire, work, agent)))
    for name, check in checks:
        before = compared
        check()
        print(f"ok: received by {name}, {compared - before} comparisons")


main()
