/// Gives the values in order, again and again.
struct FixedGenerator: RandomNumberGenerator {
    var values: [UInt64]
    private var index = 0

    init(values: [UInt64]) { self.values = values }

    mutating func next() -> UInt64 {
        defer { index = (index + 1) % values.count }
        return values[index]
    }
}
