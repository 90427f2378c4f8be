import NodeLinux
import Testing

extension ContainerTests {
    /// What containers rest on holds with each OCI runtime. With `runc`, the standard one, the suites that these tests are taken from run as they
    /// are; here they run with crun, the other one.
    @Suite(.serialized) struct RuntimeContract {
        struct Clause: Sendable, CustomTestStringConvertible {
            var name: String
            var holds: @Sendable () async throws -> Void
            var testDescription: String { name }

            init(_ name: String, _ holds: @escaping @Sendable () async throws -> Void) {
                self.name = name
                self.holds = holds
            }
        }

        static let clauses: [Clause] =
            [
                Clause("made once") { try await Lifecycle().aContainerIsMadeOnceAndUsedAgain() },
                Clause("files outlive it") { try await Lifecycle().filesOutliveTheContainerAndHandlesDoNot() },
                Clause("its end is noticed") { try await Lifecycle().aKilledContainerSaysSoAndComesBack() },
                Clause("deleted") { try await Lifecycle().deletingLeavesNothing() },
                Clause("a start that is cut short") { try await Lifecycle().deletingCutsAStartShort() },
                Clause("a start that fails") { try await Lifecycle().aFailedStartSaysWhyAndLeavesNothing() },
                Clause("the host is out of sight") { try await Isolation().hostProcessesAndFilesAreOutOfSight() },
                Clause("init is out of reach") { try await Isolation().initCannotBeTouchedFromInside() },
                Clause("rights") { try await Isolation().rightsAreFew() },
                Clause("ordinary work") { try await Isolation().ordinaryRootWorkGoesWell() },
                Clause("ids of its own") { try await Isolation().projectsShareTheImageAndNothingElse() },
                Clause("processes") { try await LimitsInForce().processesAreCounted() },
                Clause("memory") { try await LimitsInForce().memoryIsLimitedAndSwapForbidden() },
                Clause("open files") { try await LimitsInForce().openFilesAndCoresAreLimited() },
                Clause("limits change") { try await LimitsInForce().newLimitsReachARunningContainer() },
                Clause("suspended") { try await Suspension().allProcessesStandStillAndGoOn() },
                Clause("suspended and ended") { try await Suspension().itCanBeStoppedKilledAndDeleted() },
                Clause("a new daemon") { try await Recovery().containersAndCommandsOutliveTheDaemon() },
                Clause("a new daemon, suspended") { try await SuspendedRecovery().oneThatStandsStillIsTakenUpAsItIs() },
                Clause("died meanwhile") { try await Recovery().aContainerThatDiedMeanwhileIsMadeAgain() },
                Clause("leftovers") { try await Recovery().brokenLeftoversAreRemoved() },
                Clause("taken down") { try await Recovery().takingDownKeepsTheData() },
            ]
            + (Probe.compiler == nil ? [] : [Clause("system calls") { try await Isolation().dangerousCallsFail() }])

        @Test(
            .enabled(
                if: Host.find("crun") != nil && Mounts.isCgroup2("/sys/fs/cgroup"),
                "runs only where crun can: on hosts with cgroup v2 alone"), arguments: clauses)
        func holdsWithCrun(_ clause: Clause) async throws {
            try await TestNode.$runtime.withValue("crun", operation: clause.holds)
        }
    }
}
