import ControllerDomain
import ControllerServices
import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite(.endsInTime) struct TokenTests {
    private func create(_ world: World, _ input: JSONValue) async throws -> (id: JSONValue, text: Secret) {
        let answer = try await world.run("tokens_create", input)
        let text = try #require(answer["token"]?.string)
        return (try #require(answer["id"]), Secret(text))
    }

    @Test func aTokenIsMadeUsedListedAndRevoked() async throws {
        try await World.with { world, _ in
            let (id, text) = try await create(world, ["name": "ci", "scopes": ["exec", "files:read"]])
            #expect(text.reveal().wholeMatch(of: /fst_[A-Za-z0-9_-]{43}/) != nil)
            let principal = try await world.services.authenticator.authenticate(text)
            #expect(principal.name == "ci")
            #expect(principal.scopes == [.exec, .filesRead])
            #expect(principal.workspace == world.workspace)
            let listed = try await world.run("tokens_list")
            #expect(listed["tokens"]?.array?.map { $0["name"] } == ["ci"])
            #expect(listed["tokens"]?.array?.first?["token"] == nil)
            let streams = world.services.authenticator.openStreams
            let ended = Mutex<[String]>([])
            for (name, token) in [("its", principal.token), ("another", TokenID())] {
                _ = streams.open(token) { ended.withLock { $0.append(name) } }
            }
            streams.close(principal.token, streams.open(principal.token) { ended.withLock { $0.append("closed") } })
            #expect(try await world.run("tokens_revoke", ["token": id])["revokedAt"] != nil)
            #expect(ended.withLock { $0 } == ["its"], "and what it has open ends")
            _ = streams.open(principal.token) { ended.withLock { $0.append("late") } }
            #expect(ended.withLock { $0 } == ["its", "late"])
            // At once, although it was found good a moment ago.
            let error = await expectFailure(.unauthenticated) {
                _ = try await world.services.authenticator.authenticate(text)
            }
            #expect(error?.message.contains("revoked") == true)
        }
    }

    @Test func withoutScopesItMayDoEverythingButAdminister() async throws {
        try await World.with(nodes: 0) { world, _ in
            for input: JSONValue in [["name": "a"], ["name": "b", "scopes": []]] {
                let (_, text) = try await create(world, input)
                let scopes = try await world.services.authenticator.authenticate(text).scopes
                #expect(scopes == Set(Scope.allCases).subtracting([.admin]))
            }
            await expectFailure(.unprocessable) {
                try await world.run("tokens_create", ["name": "c", "scopes": ["root"]])
            }
            await expectFailure(.unprocessable) { try await world.run("tokens_create", ["name": "c\n"]) }
            await expectFailure(.unprocessable) {
                try await world.run("tokens_create", ["name": "c", "expiresInSec": 0])
            }
        }
    }

    @Test func anExpiredTokenIsRefusedAlsoWhileItIsRemembered() async throws {
        try await World.with(nodes: 0) { world, _ in
            let (_, text) = try await create(world, ["name": "short", "expiresInSec": 3600])
            _ = try await world.services.authenticator.authenticate(text)
            let later = Date.nowMilliseconds.addingTimeInterval(3601)
            let error = await expectFailure(.unauthenticated) {
                _ = try await world.services.authenticator.authenticate(text, at: later)
            }
            #expect(error?.message.contains("expired") == true)
        }
    }

    @Test func whatIsNoTokenIsRefusedAndCounted() async throws {
        try await World.with(nodes: 0) { world, _ in
            let wrong = [
                "", "fst_", "fst_short", "Bearer x", String(repeating: "a", count: 47),
                "fst_" + String(repeating: "A", count: 43),
                "fst_" + String(repeating: "A", count: 1_000_000),
            ]
            for text in wrong {
                await expectFailure(.unauthenticated) {
                    _ = try await world.services.authenticator.authenticate(Secret(text))
                }
            }
            #expect(world.services.authenticator.missing().code == .unauthenticated)
            #expect(world.services.metrics.value(.authenticationsRefused) == Double(wrong.count + 1))
        }
    }

    @Test func anotherWorkspacesTokenCannotBeRevoked() async throws {
        try await World.with(nodes: 0) { world, _ in
            let (id, text) = try await create(world, ["name": "ci"])
            let stranger = world.context(world.principal(in: world.other))
            await expectFailure(.notFound) { try await world.run("tokens_revoke", ["token": id], stranger) }
            _ = try await world.services.authenticator.authenticate(text)
            // A secret that was given in place of the id reaches neither the audit nor the error.
            let error = await expectFailure(.invalid) {
                try await world.run("tokens_revoke", ["token": .string(text.reveal())])
            }
            #expect(
                error?.description.contains(text.reveal()) == false || error?.message.contains(text.reveal()) == false)
            let events = try await world.audit("tokens_revoke")
            #expect(!"\(events)".contains(text.reveal()))
        }
    }

    @Test func theFirstAdminTokenIsWrittenOnceForItsOwnerAlone() async throws {
        try await World.with(nodes: 0) { world, _ in
            let file = world.folder + "/token"
            #expect(try await world.services.tokens.bootstrapAdminToken(file: file))
            let attributes = try FileManager.default.attributesOfItem(atPath: file)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
            let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
            #expect(text.hasSuffix("\n"))
            let principal = try await world.services.authenticator.authenticate(Secret(String(text.dropLast())))
            #expect(principal.holds(.admin))
            #expect(principal.workspace == world.workspace)
            #expect(try await world.services.tokens.bootstrapAdminToken(file: file) == false)
            #expect(String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self) == text)
            // When the last one is revoked, the next start makes another.
            _ = try await world.run("tokens_revoke", ["token": .string(principal.token.description)])
            #expect(try await world.services.tokens.bootstrapAdminToken(file: file))
            #expect(String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self) != text)
        }
    }
}
