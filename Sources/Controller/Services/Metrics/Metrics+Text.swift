extension Metrics {
    /// The Prometheus text exposition format, version 0.0.4; families and series are sorted.
    public func text() -> String {
        var lines: [String] = []
        for (metric, family) in snapshot().sorted(by: { $0.key.name < $1.key.name }) {
            lines.append("# HELP \(metric.name) \(Self.escaped(metric.help, quotes: false))")
            lines.append("# TYPE \(metric.name) \(metric.typeName)")
            if let read = family.read { lines.append("\(metric.name) \(Self.number(read()))") }
            for (values, sample) in family.series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
                lines.append(contentsOf: Self.lines(metric, values, sample))
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func lines(_ metric: Metric, _ values: [String], _ sample: Sample) -> [String] {
        let labels = zip(metric.labels, values).map { "\($0)=\"\(escaped($1, quotes: true))\"" }
        switch sample {
        case .value(let value): return ["\(metric.name)\(block(labels)) \(number(value))"]
        case .histogram(let histogram):
            guard case .histogram(let bounds) = metric.kind else { return [] }
            var below: UInt64 = 0
            var lines: [String] = []
            for (bound, count) in zip(bounds, histogram.counts) {
                below += count
                lines.append("\(metric.name)_bucket\(block(labels + ["le=\"\(number(bound))\""])) \(below)")
            }
            lines.append("\(metric.name)_bucket\(block(labels + ["le=\"+Inf\""])) \(histogram.count)")
            lines.append("\(metric.name)_sum\(block(labels)) \(number(histogram.sum))")
            lines.append("\(metric.name)_count\(block(labels)) \(histogram.count)")
            return lines
        }
    }

    private static func block(_ labels: [String]) -> String {
        labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}"
    }

    private static func number(_ value: Double) -> String {
        Int64(exactly: value).map { "\($0)" } ?? "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        let escaped = text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
        return quotes ? escaped.replacing("\"", with: "\\\"") : escaped
    }
}

extension Metric {
    fileprivate var typeName: String {
        switch kind {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }
}
