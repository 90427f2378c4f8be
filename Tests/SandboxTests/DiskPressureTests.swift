import FastableCore
import FoundationEssentials
import NodeSandbox
import TestSupport
import Testing

@Suite struct DiskPressureTests {
    private static let total = 100_000_000_000
    private static let inodes = 10_000_000

    private static func space(bytesPermille: Int = 1000, inodesPermille: Int? = 1000) -> DiskSpace {
        DiskSpace(
            totalBytes: total, freeBytes: total / 1000 * bytesPermille,
            freeInodes: inodesPermille.map { inodes / 1000 * $0 }, totalInodes: inodesPermille == nil ? nil : inodes)
    }

    private static func machine(after spaces: DiskSpace...) -> DiskPressureStateMachine {
        var machine = DiskPressureStateMachine(DiskPressurePercents())
        for space in spaces { _ = machine.looked(space) }
        return machine
    }

    /// What a look says that has nothing before it.
    private static func level(_ permille: Int) -> DiskPressure {
        permille < 50 ? .refusing : permille < 100 ? .reclaiming : permille < 150 ? .low : .none
    }

    /// An eighth more has to be free before a level ends.
    private static func lasting(_ permille: Int) -> DiskPressure {
        permille * 8 < 50 * 9
            ? .refusing : permille * 8 < 100 * 9 ? .reclaiming : permille * 8 < 150 * 9 ? .low : .none
    }

    @Test func everyStepFromEveryLevel() {
        let grid = Array(stride(from: 0, through: 200, by: 1)) + [500, 1000]
        for before in [0, 40, 60, 99, 120, 149, 160, 1000] {
            let first = Self.machine(after: Self.space(bytesPermille: before))
            #expect(first.level == Self.level(before))
            for now in grid {
                for isOfBytes in [true, false] {
                    var machine = Self.machine(
                        after: isOfBytes ? Self.space(bytesPermille: before) : Self.space(inodesPermille: before))
                    let change = machine.looked(
                        isOfBytes ? Self.space(bytesPermille: now) : Self.space(inodesPermille: now))
                    let wanted = max(Self.level(now), min(Self.level(before), Self.lasting(now)))
                    #expect(machine.level == wanted, "\(before) → \(now)")
                    #expect(change == (wanted == first.level ? nil : .init(from: first.level, to: wanted)))
                    // The same again changes nothing.
                    #expect(
                        machine.looked(isOfBytes ? Self.space(bytesPermille: now) : Self.space(inodesPermille: now))
                            == nil)
                }
            }
        }
    }

    @Test func theWorseOfBytesAndFilesCounts() {
        for bytes in [10, 70, 120, 500] {
            for files in [10, 70, 120, 500] {
                let machine = Self.machine(after: Self.space(bytesPermille: bytes, inodesPermille: files))
                #expect(machine.level == max(Self.level(bytes), Self.level(files)))
            }
            #expect(
                Self.machine(after: Self.space(bytesPermille: bytes, inodesPermille: nil)).level == Self.level(bytes))
        }
    }

    @Test func aSmallDiskNeedsTheLeastAllTheSame() {
        let least = Limits.nodeDiskFreeBytesLeast
        func level(_ free: Int) -> DiskPressure {
            Self.machine(after: DiskSpace(totalBytes: 1 << 30, freeBytes: free, freeInodes: nil)).level
        }
        #expect(level(least - 1) == .refusing)
        #expect(level(least) == .reclaiming)
        #expect(level(least + least / 4) == .low)
        #expect(level(least + least / 2) == .none)
        // Also when its operator wants no shares at all.
        var machine = DiskPressureStateMachine(DiskPressurePercents(low: 0, reclaiming: 0, refusing: 0))
        _ = machine.looked(DiskSpace(totalBytes: 1 << 50, freeBytes: least - 1, freeInodes: nil))
        #expect(machine.level == .refusing)
    }

    @Test func whatIsShortIsSaid() {
        let machine = Self.machine(after: Self.space(bytesPermille: 10))
        #expect(machine.shortage(.refusing, Self.space(bytesPermille: 10)) == "953 MiB are free, 4768 MiB are needed")
        // It has begun, and needs some more to end.
        #expect(machine.shortage(.refusing, Self.space(bytesPermille: 52)) == "4959 MiB are free, 5364 MiB are needed")
        #expect(
            machine.shortage(.refusing, Self.space(inodesPermille: 10))
                == "100000 files can still be made, 500000 are needed")
    }

    // MARK: what is dropped

    private static let now = Date(timeIntervalSince1970: 2_000_000_000)

    private static func image(_ name: String, _ source: String = "docker://r/x:1", hours: Double) -> DiskReclaim.Image {
        DiskReclaim.Image(name: name, source: source, lastUsed: now.addingTimeInterval(-hours * 3600))
    }

    @Test func imagesGoBeforeCachesAndTheOldestFirst() {
        let projects = (0..<3).map { _ in ProjectID() }
        let reclaim = DiskReclaim(
            images: [
                Self.image("young", hours: 0.5), Self.image("b", hours: 2), Self.image("a", hours: 40),
                Self.image("built", "dir:/srv/x", hours: 400), Self.image("layout", "oci:/srv/x", hours: 400),
                Self.image("elsewhere", hours: 300), Self.image("here", hours: 300),
            ],
            caches: projects.enumerated().map { index, project in
                .init(project: project, restingSince: Self.now.addingTimeInterval(Double(index * 37 % 3) * -100))
            })
        let caches = reclaim.caches.sorted { $0.restingSince < $1.restingSince }
            .map { DiskReclaim.Step.cache($0.project) }
        func steps(_ inUse: Set<String>?, isPatient: Bool = false) -> [DiskReclaim.Step] {
            reclaim.steps(inUse: inUse, usedHere: ["here"], isPatient: isPatient, now: Self.now)
        }
        #expect(steps(["elsewhere"]) == [.image("a"), .image("b")] + caches)
        #expect(steps(["elsewhere"], isPatient: true) == [.image("a"), .image("b")] + caches)
        // Without the controller's word no image goes, and caches wait for it a while.
        #expect(steps(nil) == caches)
        #expect(steps(nil, isPatient: true).isEmpty)
        let withoutImages = DiskReclaim(images: [Self.image("built", "dir:/x", hours: 9)], caches: reclaim.caches)
        #expect(withoutImages.steps(inUse: nil, usedHere: [], isPatient: true, now: Self.now) == caches)
    }
}
