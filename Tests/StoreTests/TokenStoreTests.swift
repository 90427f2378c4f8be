import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct TokenStoreTests {
    private func hash(_ byte: UInt8) throws -> TokenHash {
        try #require(TokenHash([UInt8](repeating: byte, count: TokenHash.byteCount)))
    }

    private func token(_ fixture: Fixture, name: String = "ci", expiresAt: Date? = nil) -> TokenRecord {
        TokenRecord(
            id: TokenID(), workspace: fixture.workspace, name: name, scopes: [.exec, .filesRead], createdAt: moment,
            expiresAt: expiresAt)
    }

    @Test(arguments: Driver.allCases)
    func aTokenIsFoundByItsHashOnly(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let token = token(fixture)
            try await fixture.store.createToken(token, hash: try hash(1))
            #expect(try await fixture.store.findToken(hash: try hash(1), now: moment) == .usable(token))
            #expect(try await fixture.store.findToken(hash: try hash(2), now: moment) == .unknown)
            // The same hash twice would make one token two.
            await expectFailure(.conflict) {
                try await fixture.store.createToken(self.token(fixture), hash: try hash(1))
            }
            await expectFailure(.unprocessable) {
                try await fixture.store.createToken(self.token(fixture, name: "a\nb"), hash: try hash(3))
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func expiryAndRevocationEndIt(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let token = token(fixture, expiresAt: moment.addingTimeInterval(10))
            try await store.createToken(token, hash: try hash(1))
            #expect(try await store.findToken(hash: try hash(1), now: moment) == .usable(token))
            let late = moment.addingTimeInterval(10)
            #expect(try await store.findToken(hash: try hash(1), now: late) == .expired(token))
            await expectFailure(.notFound) { _ = try await store.revokeToken(token.id, in: fixture.other, at: moment) }
            let revoked = try await store.revokeToken(token.id, in: fixture.workspace, at: moment)
            #expect(revoked.revokedAt == moment)
            #expect(try await store.revokeToken(token.id, in: fixture.workspace, at: late) == revoked)
            #expect(try await store.findToken(hash: try hash(1), now: moment) == .revoked(revoked))
            await expectFailure(.notFound) {
                _ = try await store.revokeToken(TokenID(), in: fixture.workspace, at: moment)
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func listsShowTheOwnWorkspaceOnly(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let mine = [token(fixture, name: "a"), token(fixture, name: "a")].sorted { $0.id < $1.id }
            for (index, token) in mine.enumerated() {
                try await fixture.store.createToken(token, hash: try hash(UInt8(index)))
            }
            var foreign = token(fixture)
            foreign.workspace = fixture.other
            try await fixture.store.createToken(foreign, hash: try hash(9))
            #expect(try await fixture.store.tokens(in: fixture.workspace) == mine)
            #expect(try await fixture.store.tokens(in: fixture.other) == [foreign])
        }
    }

    @Test(arguments: Driver.allCases)
    func useIsNotedOnceAMinute(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let token = token(fixture)
            try await store.createToken(token, hash: try hash(1))
            func touch(after seconds: Double) async throws -> Date? {
                let now = moment.addingTimeInterval(seconds)
                guard case .usable(let record) = try await store.findToken(hash: try hash(1), now: now) else {
                    return nil
                }
                try await store.touchToken(record, at: now)
                return try await store.tokens(in: fixture.workspace).first?.lastUsedAt
            }
            #expect(try await touch(after: 0) == moment)
            #expect(try await touch(after: 59) == moment)
            #expect(try await touch(after: 60) == moment.addingTimeInterval(60))
            // An old record in a caller's hands does not take the time back.
            try await store.touchToken(token, at: moment.addingTimeInterval(61))
            #expect(try await store.tokens(in: fixture.workspace).first?.lastUsedAt == moment.addingTimeInterval(60))
        }
    }

    @Test(arguments: Driver.allCases)
    func aWorkspaceHasAMostOfTokens(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            var last: TokenRecord?
            for number in 0..<Limits.tokensPerWorkspace {
                var bytes = [UInt8](repeating: 0, count: TokenHash.byteCount)
                (bytes[0], bytes[1]) = (UInt8(number & 0xff), UInt8(number >> 8))
                let token = token(fixture)
                try await fixture.store.createToken(token, hash: try #require(TokenHash(bytes)))
                last = token
            }
            await expectFailure(.limit) { try await fixture.store.createToken(token(fixture), hash: try hash(0xff)) }
            _ = try await fixture.store.revokeToken(try #require(last).id, in: fixture.workspace, at: moment)
            try await fixture.store.createToken(token(fixture), hash: try hash(0xff))
        }
    }
}
