/// Amounts with units as people write them in configuration.
enum AmountText {
    private static let byteUnits: [(suffix: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1),
    ]
    private static let timeUnits: [(suffix: String, milliseconds: Int)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    static func bytes(_ text: String) -> Int? { amount(text, units: byteUnits.map { ($0.suffix, $0.bytes) }) }

    static func bytes(_ bytes: Int) -> String {
        let unit = byteUnits.first { bytes != 0 && bytes.isMultiple(of: $0.bytes) } ?? ("", 1)
        return "\(bytes / unit.bytes)\(unit.suffix)"
    }

    static func duration(_ text: String) -> Duration? {
        amount(text, units: timeUnits.map { ($0.suffix, $0.milliseconds) }).map { .milliseconds($0) }
    }

    static func duration(_ duration: Duration) -> String {
        let milliseconds =
            Int(duration.components.seconds) * 1000 + Int(duration.components.attoseconds / 1_000_000_000_000_000)
        let unit = timeUnits.first { milliseconds.isMultiple(of: $0.milliseconds) } ?? ("ms", 1)
        return milliseconds == 0 ? "0s" : "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }

    /// Digits and one of the units; `nil` for anything else and for what does not fit into an `Int`.
    private static func amount(_ text: String, units: [(suffix: String, factor: Int)]) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) }), let number = Int(digits)
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.factor)
        return overflow ? nil : product
    }
}
