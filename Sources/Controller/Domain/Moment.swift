import FastableCore
public import FoundationEssentials

extension Date {
    /// A moment from the milliseconds since 1970 that rows hold.
    public init(milliseconds: Int64) { self.init(timeIntervalSince1970: Double(milliseconds) / 1000) }

    /// Milliseconds since 1970, rounded. Moments beyond what a row can hold become its ends.
    public var milliseconds: Int64 {
        let value = (timeIntervalSince1970 * 1000).rounded()
        return Int64(exactly: value) ?? (value > 0 ? .max : .min)
    }

    /// Now, in whole milliseconds, so that a moment equals itself after it was stored.
    public static var nowMilliseconds: Date { Date(milliseconds: Int64(clamping: WallClock.nowMilliseconds())) }
}
