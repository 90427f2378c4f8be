import FastableCore
import Synchronization

/// The counters, gauges and histograms of this process. Updating one costs a lock and a look-up.
public final class Metrics: Sendable {
    struct Histogram {
        var counts: [UInt64]
        var count: UInt64 = 0
        var sum = 0.0
    }

    enum Sample {
        case value(Double)
        case histogram(Histogram)
    }

    struct Family {
        var series: [[String]: Sample] = [:]
        var read: (@Sendable () -> Double)?
    }

    private let families = Mutex<[Metric: Family]>([:])

    public init() {}

    /// Adds to a counter or a gauge; a gauge may go down.
    public func add(_ metric: Metric, _ amount: Double = 1, _ labels: [String] = []) {
        update(metric, labels) { sample in
            guard case .value(let value)? = sample else { return .value(amount) }
            return .value(value + amount)
        }
    }

    public func set(_ metric: Metric, _ value: Double, _ labels: [String] = []) {
        update(metric, labels) { _ in .value(value) }
    }

    /// Counts one value, in the unit of the metric's name, into a histogram.
    public func observe(_ metric: Metric, _ value: Double, _ labels: [String] = []) {
        guard case .histogram(let bounds) = metric.kind else { return }
        update(metric, labels) { sample in
            var histogram = Histogram(counts: Array(repeating: 0, count: bounds.count))
            if case .histogram(let known)? = sample { histogram = known }
            if let bucket = bounds.firstIndex(where: { value <= $0 }) { histogram.counts[bucket] += 1 }
            histogram.count += 1
            histogram.sum += value
            return .histogram(histogram)
        }
    }

    /// A gauge that is read when somebody asks for it.
    public func gauge(_ metric: Metric, read: @escaping @Sendable () -> Double) {
        families.withLock { $0[metric, default: Family()].read = read }
    }

    /// Shows metrics without labels as zero before they are touched for the first time.
    public func declare(_ metrics: [Metric]) {
        for metric in metrics { add(metric, 0) }
    }

    /// The value of one counter or gauge; zero when it was never touched.
    public func value(_ metric: Metric, _ labels: [String] = []) -> Double {
        let (sample, read) = families.withLock { ($0[metric]?.series[labels], $0[metric]?.read) }
        if let read { return read() }
        return switch sample {
        case .value(let value)?: value
        case .histogram(let histogram)?: Double(histogram.count)
        case nil: 0
        }
    }

    func snapshot() -> [Metric: Family] { families.withLock { $0 } }

    private func update(_ metric: Metric, _ labels: [String], _ change: (Sample?) -> Sample) {
        families.withLock { families in
            let known = families[metric]?.series[labels]
            // Label values come from closed sets; the bound keeps a mistake from filling the memory.
            if known == nil, (families[metric]?.series.count ?? 0) >= Limits.metricSeries { return }
            families[metric, default: Family()].series[labels] = change(known)
        }
    }
}
