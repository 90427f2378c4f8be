import FastableCore
import FoundationEssentials
import Testing

@Suite struct ImageReferenceTests {
    @Test(
        arguments: [
            ("docker://debian", "debian"), ("docker://debian:12", "debian"),
            ("docker://registry.example:5000/team/node:22", "registry.example:5000/team/node"),
            ("docker://registry.example:5000/node", "registry.example:5000/node"),
            ("docker://r.example/node@sha256:00", "r.example/node"),
            ("docker://r.example/node:22@sha256:00", "r.example/node"), ("docker://", nil), ("docker://@x", nil),
            ("oci:/images/x:1", nil), ("dir:/x", nil), ("", nil),
        ] as [(String, String?)])
    func theRepositoryIsWhatIsLeftOfASource(source: String, repository: String?) {
        #expect(ImageReference.repository(of: source) == repository)
        #expect(ImageReference.pinned(source, to: "sha256:1") == repository.map { "docker://\($0)@sha256:1" })
    }

    @Test func theNewerOfTwoCountsWhoeverCompares() {
        let images = [("a", 1.0), ("a", 2), ("b", 2)].map {
            ImageReference(name: "x", source: $0.0, namedAt: Date(timeIntervalSince1970: $0.1))
        }
        #expect(images[1].isNewer(than: images[0]) && !images[0].isNewer(than: images[1]))
        #expect(images[2].isNewer(than: images[1]) && !images[1].isNewer(than: images[2]))
        #expect(!images[0].isNewer(than: images[0]))
    }

    /// One release may ask the other.
    @Test func aWishForAContainerIsReadByBothReleases() throws {
        let spec = ContainerSpec(project: ProjectID(), workspace: WorkspaceID(), image: "x")
        let wish = try JSON.encode(ContainerEnsure(container: spec, wantsStart: true))
        #expect(try JSON.decode(ContainerSpec.self, from: wish) == spec)
        #expect(try JSON.decode(ContainerEnsure.self, from: wish).wantsStart == true)
        let earlier = try JSON.decode(ContainerEnsure.self, from: try JSON.encode(spec))
        #expect(earlier.container == spec && earlier.wantsStart == nil)
    }

    @Test func anAnswerIsProgressOrTheReply() throws {
        let status = ContainerStatus(
            project: ProjectID(), state: .running, container: nil, image: "x", startedAt: nil, reason: "",
            limits: ResourceLimits(), runningExecs: 0)
        let reply = try JSON.encode(NodeReply.success(status))
        guard case .reply(let read) = try JSON.decode(ContainerEnsureAnswer.self, from: reply) else {
            throw FastableError(.internal, "no reply")
        }
        #expect(try read.get() == status)
        let progress = StartProgress(.pulling, "It comes.", fraction: 0.5, doneBytes: 1, totalBytes: 2)
        let told = try JSON.encode(ContainerEnsureAnswer.starting(progress))
        guard case .starting(progress) = try JSON.decode(ContainerEnsureAnswer.self, from: told) else {
            throw FastableError(.internal, "no progress")
        }
    }
}
