import DequeModule
import FastableCore

/// Of which finished execs a node keeps more of a project than how they ended, in the order of their ends: of some for some days,
/// output as far as there is room. Pure; the store deletes what it says.
struct KeptExecs {
    struct Entry {
        var exec: ExecID
        var writtenMilliseconds: UInt64
        var spoolBytes: Int
    }

    /// What is to be deleted.
    struct Surplus: Equatable {
        /// All but how they ended.
        var forgotten: [ExecID] = []
        /// Output only.
        var emptied: [ExecID] = []
    }

    private let recordLimit: Int
    private let spoolLimit: Int
    private let ageMilliseconds: UInt64
    private var order: Deque<(exec: ExecID, writtenMilliseconds: UInt64)> = []
    /// Those that may still have output, oldest first.
    private var withOutput: Deque<ExecID> = []
    private var spoolBytes: [ExecID: Int] = [:]
    private var total = 0

    init(recordLimit: Int, spoolLimit: Int, ageSeconds: Int) {
        self.recordLimit = recordLimit
        self.spoolLimit = spoolLimit
        ageMilliseconds = UInt64(ageSeconds) * 1000
    }

    func contains(_ exec: ExecID) -> Bool { spoolBytes[exec] != nil }

    /// Keeps one more, or an old one with more output.
    mutating func keep(_ new: Entry) -> Surplus {
        if let known = spoolBytes[new.exec] {
            total -= known
        } else {
            order.append((new.exec, new.writtenMilliseconds))
        }
        spoolBytes[new.exec] = new.spoolBytes
        total += new.spoolBytes
        if new.spoolBytes > 0 { withOutput.append(new.exec) }
        return surplus(now: new.writtenMilliseconds)
    }

    private mutating func surplus(now: UInt64) -> Surplus {
        var surplus = Surplus()
        while let first = order.first {
            let isOld = first.writtenMilliseconds + ageMilliseconds < now
            guard isOld || order.count > recordLimit else { break }
            order.removeFirst()
            total -= spoolBytes.removeValue(forKey: first.exec) ?? 0
            surplus.forgotten.append(first.exec)
        }
        while total > spoolLimit, let exec = withOutput.popFirst() {
            guard let bytes = spoolBytes[exec], bytes > 0 else { continue }
            total -= bytes
            spoolBytes[exec] = 0
            surplus.emptied.append(exec)
        }
        return surplus
    }
}
