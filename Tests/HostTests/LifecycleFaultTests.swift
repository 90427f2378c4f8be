import FastableCore
import Foundation
import TestSupport
import Testing

/// Something dies, or a link is cut, at a random moment of every step in the life of a container, with everything real. After each
/// of them the project can be used, its workspace is what it was, and nothing is left that belongs to no container.
@Suite(
    "Faults in the life of a container", .serialized,
    .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct LifecycleFaultTests {
    enum Step: String, CaseIterable {
        case create, suspend, wake, stop, restart, snapshot, archive, restore, delete

        /// How long it takes, about: later moments would tell nothing.
        var milliseconds: Int {
            switch self {
            case .suspend, .wake: 12
            case .create, .stop, .delete: 150
            case .restart, .snapshot: 250
            case .archive, .restore: 400
            }
        }

        /// Whether the node runs the OCI runtime for it.
        var needsRuntime: Bool {
            switch self {
            case .suspend, .wake, .snapshot: false
            case .create, .stop, .restart, .archive, .restore, .delete: true
            }
        }
    }

    enum Fault: String, CaseIterable {
        case node, controller, initProcess, runtime, reboot, powerCut, link, disk, clock

        func exists(in step: Step) -> Bool { self != .runtime || step.needsRuntime }
    }

    /// `make test-faults` tries every fault in every step, again and again; the ordinary run two faults in each step, and each of them
    /// as often as the others.
    private static let rounds = FaultPlan.number("FASTABLE_FAULT_ROUNDS").map { max(1, $0 / 5) }

    private static func plan(_ generator: inout SeededGenerator) -> [(Step, Fault)] {
        var plan: [(Step, Fault)] = []
        let shuffled = Fault.allCases.shuffled(using: &generator)
        for (number, step) in Step.allCases.shuffled(using: &generator).enumerated() {
            if let rounds {
                for _ in 0..<rounds { plan += Fault.allCases.map { (step, $0) } }
            } else {
                plan += (0..<2).map { (step, shuffled[(2 * number + $0) % shuffled.count]) }
            }
        }
        return plan.filter { $0.1.exists(in: $0.0) }.shuffled(using: &generator)
    }

    @Test(.timeLimit(.minutes(90))) func nothingIsStuckLeftOrLost() async throws {
        // Large enough for what a node keeps free of any disk.
        try await Installation.with(disk: SmallDisk.Size(megabytes: 4096), setsClock: true) { host in
            var generator = SeededGenerator(seed: FaultPlan.seed)
            var battery = try await FaultBattery(host)
            var done: [Fault: Int] = [:]
            let plan = Self.plan(&generator)
            for (step, fault) in plan {
                let what = "\(fault) in \(step), seed \(FaultPlan.seed)"
                // A process that lives for a moment is missed now and then: it is tried again, and earlier.
                var isDone = false
                for latest in [step.milliseconds, step.milliseconds / 4, 0, 0, 0] where !isDone {
                    isDone = try await battery.round(
                        step, fault, afterMilliseconds: generator.int(0...latest), "seed \(FaultPlan.seed)")
                }
                #expect(isDone, "nothing was hit: \(what)")
                if isDone { done[fault, default: 0] += 1 }
            }
            print("\(FaultPlan.counts(done)) in \(Step.allCases.count) steps, seed \(FaultPlan.seed)")
            #expect(done.values.reduce(0, +) == plan.count)
        }
    }
}

/// What the batteries of faults have in common.
enum FaultPlan {
    static func number(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }

    /// Given to repeat a run that failed.
    static let seed =
        number("FASTABLE_FAULT_SEED").map { UInt64(bitPattern: Int64($0)) } ?? UInt64(UInt32.random(in: .min ... .max))

    static func counts<Fault: CaseIterable & RawRepresentable<String> & Hashable>(_ done: [Fault: Int]) -> String {
        let counts = Fault.allCases.map { "\(done[$0] ?? 0) × \($0.rawValue)" }.joined(separator: ", ")
        return "\(done.values.reduce(0, +)) faults: \(counts)"
    }
}
