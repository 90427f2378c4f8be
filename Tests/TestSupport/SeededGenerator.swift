/// A small generator whose whole run follows from its seed (SplitMix64), so that a failed test can be run again.
package struct SeededGenerator: RandomNumberGenerator {
    /// What a failing test prints.
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64 = .random(in: .min ... .max)) {
        self.seed = seed
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    package mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    package mutating func chance(_ percent: Int) -> Bool { int(1...100) <= percent }
}

/// Seeds of a random test: the first ones are always the same, the last one is new in every run. As arguments of a test
/// they are printed with its failure.
package func seeds(_ count: Int = 4) -> [UInt64] {
    (1..<UInt64(count)) + [UInt64.random(in: 1000 ... .max)]
}
