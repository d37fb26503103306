import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.images.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.216.34",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "this host"),
        ("::", "this host"),
        ("10.0.0.1", "private"),
        ("172.16.5.4", "private"),
        ("192.168.1.1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "site-local"),
        ("169.254.169.254", "metadata of AWS, GCP, Azure"),
        ("fd00:ec2::254", "metadata of AWS"),
        ("168.63.129.16", "Azure's wire server"),
        ("100.100.100.200", "metadata of Alibaba"),
        ("192.0.0.192", "metadata of Oracle"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local with its interface"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("198.18.0.1", "benchmarks"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("192.88.99.1", "6to4 relay"),
        ("192.0.2.7", "documentation"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("5f00::1", "segment routing"),
        ("::ffff:127.0.0.1", "mapped loopback"),
        ("::ffff:169.254.169.254", "mapped metadata"),
        ("::127.0.0.1", "compatible loopback"),
        ("2002:7f00:1::1", "6to4 of loopback"),
        ("2002:a9fe:a9fe::1", "6to4 of metadata"),
        ("64:ff9b::127.0.0.1", "NAT64 of loopback"),
        ("64:ff9b::a9fe:a9fe", "NAT64 of metadata"),
        ("64:ff9b:1::808:808", "NAT64 for local use"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("not an address", "nothing"),
        ("", "nothing"),
    ],
)
def test_every_other_address_is_not(address, what):
    assert not is_public(address), what


@given(st.ip_addresses(v=4))
def test_no_ipv6_form_of_an_ipv4_address_is_more_public_than_it(v4):
    number = int(v4)
    forms = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
    ]
    assert {is_public(str(form)) for form in forms} == {is_public(str(v4))}


@given(st.ip_addresses(v=4))
def test_whatever_python_calls_private_is_refused(v4):
    if v4.is_private or v4.is_loopback or v4.is_link_local or v4.is_multicast or v4.is_reserved:
        assert not is_public(str(v4))
