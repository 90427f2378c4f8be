/// A moment as pax headers write it: seconds since 1970, with a fraction where there is one.
struct PaxTime {
    var seconds: Int64
    /// On top of the seconds, also before 1970: 0 ..< 1,000,000,000.
    var nanoseconds: Int64 = 0

    private static let digits = 9
    private static let second: Int64 = 1_000_000_000

    init(seconds: Int64) { self.seconds = seconds }

    init(_ entry: TarEntry) {
        seconds = entry.modified
        nanoseconds = entry.modifiedNanoseconds
    }

    /// `nil` when it is no number; what is finer than nanoseconds is left out.
    init?(_ text: String) {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first.flatMap({ Int64($0) }) else { return nil }
        seconds = whole
        guard parts.count == 2 else { return }
        let fraction = Array(parts[1].utf8.prefix(Self.digits))
        guard fraction.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        for place in 0..<Self.digits {
            let digit = place < fraction.count ? fraction[place] - UInt8(ascii: "0") : 0
            nanoseconds = nanoseconds * 10 + Int64(digit)
        }
        guard text.hasPrefix("-"), nanoseconds > 0 else { return }
        // Counted forward from the second before.
        guard seconds > .min else {
            nanoseconds = 0
            return
        }
        seconds -= 1
        nanoseconds = Self.second - nanoseconds
    }

    var text: String {
        guard nanoseconds != 0 else { return "\(seconds)" }
        if seconds >= 0 { return "\(seconds).\(Self.padded(nanoseconds))" }
        return "-\(-(seconds + 1)).\(Self.padded(Self.second - nanoseconds))"
    }

    private static func padded(_ fraction: Int64) -> String {
        let text = "\(fraction)"
        return String(repeating: "0", count: digits - text.utf8.count) + text
    }
}
