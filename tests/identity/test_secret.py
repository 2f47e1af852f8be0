"""The process refuses a secret that is short, or that others would try, and never repeats it."""

import pytest

from app.settings import SettingsError, load_settings

URLS = {f"{name}_database_url": f"postgresql://h/{name}" for name in ("users", "products", "orders", "payments")}


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "x",
        "0123456789abcdefghijklmnopqrstu",  # 31 bytes
        "a" * 64,
        "ababababababababababababababababababababab",
        "0123456701234567012345670123456701234567",
        "01234567890123456789012345678901",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "my-super-secret-key-that-is-very-long-indeed",
        "SECRET0123456789abcdefghijklmnopqrstuvwxyz",
        "changeme-changeme-changeme-changeme-1234567",
        "please-change-me-before-you-go-into-production",
        "change_me_0123456789_abcdefghijklmnopqrstuvwxyz",
        "your-256-bit-secret-your-256-bit-secret",
        "é" * 10,
    ],
)
def test_a_bad_secret_is_refused_and_not_repeated(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    with pytest.raises(SettingsError, match=r"^JWT_SECRET: .*openssl rand -base64 48$") as refused:
        load_settings(**URLS)
    assert not secret or secret == "x" or secret not in str(refused.value)


@pytest.mark.parametrize(
    "secret",
    [
        "v0u1t2s3r4q5p6o7n8m9l0k1j2i3h4g5",  # 32 bytes
        "rZ3k8Jq1sT0vYb5nXe7uWc9aLd2fGh4iKo6pMj8lNq0=",
        "éèàùâêîôûëïüéèàùâê",  # 36 bytes
    ],
)
def test_a_good_one_is_taken_and_not_shown(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", secret)
    settings = load_settings(**URLS)
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == secret
    assert secret not in repr(settings)
    assert secret not in str(settings.model_dump())


def test_without_one_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    assert load_settings(**URLS).jwt_secret is None
