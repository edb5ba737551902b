#pragma pack(push, 16)
