package import FastableCore

/// How short a disk is of space. It looks at what is free and at nothing else, so any look may be missed.
package struct DiskPressureStateMachine: Sendable, Equatable {
    package struct Change: Sendable, Equatable {
        package var from: DiskPressure
        package var to: DiskPressure

        package init(from: DiskPressure, to: DiskPressure) {
            self.from = from
            self.to = to
        }
    }

    package let percents: DiskPressurePercents
    package private(set) var level = DiskPressure.none

    package init(_ percents: DiskPressurePercents) { self.percents = percents }

    /// A level begins as soon as there is less than its share, and ends when there is some more than that.
    package mutating func looked(_ space: DiskSpace) -> Change? {
        let before = level
        let begun = DiskPressure.allCases.last { isBelow($0, space) } ?? .none
        let lasting = DiskPressure.allCases.last { $0 <= before && isBelow($0, space, isEnding: true) } ?? .none
        level = max(begun, lasting)
        return level == before ? nil : Change(from: before, to: level)
    }

    private func isBelow(_ level: DiskPressure, _ space: DiskSpace, isEnding: Bool = false) -> Bool {
        guard level != .none else { return false }
        func isLess(_ free: Int, _ least: Int) -> Bool {
            free < (isEnding ? least + least / Limits.diskPressureEndPart : least)
        }
        let isShortOfFiles = space.freeInodes.map { isLess($0, leastInodes(level, of: space)) } ?? false
        return isShortOfFiles || isLess(space.freeBytes, leastBytes(level, of: space))
    }

    /// Where a level begins.
    package func leastBytes(_ level: DiskPressure, of space: DiskSpace) -> Int {
        max(share(level, of: space.totalBytes), floor(level, Limits.nodeDiskFreeBytesLeast))
    }

    package func leastInodes(_ level: DiskPressure, of space: DiskSpace) -> Int {
        max(share(level, of: space.totalInodes ?? 0), floor(level, Limits.nodeDiskFreeInodesLeast))
    }

    private func share(_ level: DiskPressure, of total: Int) -> Int {
        switch level {
        case .none: 0
        case .low: total / 100 * percents.low
        case .reclaiming: total / 100 * percents.reclaiming
        case .refusing: total / 100 * percents.refusing
        }
    }

    /// So much is needed on any disk, however small.
    private func floor(_ level: DiskPressure, _ least: Int) -> Int {
        let step = least / Limits.nodeDiskFloorPart
        return switch level {
        case .none: 0
        case .low: least + 2 * step
        case .reclaiming: least + step
        case .refusing: least
        }
    }

    /// `200 MiB are free, 256 MiB are needed`: what is short as of a look, for a level that has begun.
    package func shortage(_ level: DiskPressure, _ space: DiskSpace) -> String {
        func needed(_ free: Int, _ least: Int) -> Int {
            free < least ? least : least + least / Limits.diskPressureEndPart
        }
        let (bytes, inodes) = (leastBytes(level, of: space), leastInodes(level, of: space))
        if let free = space.freeInodes, space.freeBytes >= bytes, free < needed(free, inodes) {
            return "\(free) files can still be made, \(needed(free, inodes)) are needed"
        }
        let megabyte = 1024 * 1024
        return "\(space.freeBytes / megabyte) MiB are free, \(needed(space.freeBytes, bytes) / megabyte) MiB are needed"
    }
}
